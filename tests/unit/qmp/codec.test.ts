import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encodeCommand, parseMessage, qmpKey } from '../../../framework/protocols/qmp/index.ts'

const refused = expect.objectContaining({ code: 'ATP_QMP_PROTOCOL', branch: 'protocol' })

describe('QMP codec', () => {
  it('omits what a command does not have', () => {
    expect(encodeCommand({ execute: 'stop' })).toBe('{"execute":"stop"}')
    expect(
      encodeCommand({ execute: 'send-key', arguments: { keys: [qmpKey('a')], 'hold-time': undefined }, id: 7 }),
    ).toBe('{"execute":"send-key","arguments":{"keys":[{"type":"qcode","data":"a"}]},"id":7}')
  })

  it('reads each kind of message', () => {
    expect(parseMessage('{"return": {}, "id": 3}')).toEqual({ type: 'return', id: 3, value: {} })
    expect(parseMessage('{"return": {}}')).toEqual({ type: 'return', id: undefined, value: {} })
    expect(parseMessage('{"id":1,"error":{"class":"CommandNotFound","desc":"no such thing"}}')).toEqual({
      type: 'error',
      id: 1,
      class: 'CommandNotFound',
      desc: 'no such thing',
    })
    expect(parseMessage('{"timestamp":{"seconds":5,"microseconds":6},"event":"STOP"}')).toEqual({
      type: 'event',
      event: { event: 'STOP', timestamp: { seconds: 5, microseconds: 6 }, data: {} },
    })
    expect(
      parseMessage(
        '{"QMP":{"version":{"qemu":{"micro":9,"minor":2,"major":7},"package":"Debian"},"capabilities":["oob"]}}',
      ),
    ).toEqual({
      type: 'greeting',
      greeting: { version: { qemu: { major: 7, minor: 2, micro: 9 }, package: 'Debian' }, capabilities: ['oob'] },
    })
  })

  it.each([
    'not json',
    '[]',
    'null',
    '{}',
    '{"error":{}}',
    '{"error":"x"}',
    '{"event":"STOP"}',
    '{"event":1,"timestamp":{"seconds":1,"microseconds":1}}',
    '{"event":"STOP","timestamp":{"seconds":"1","microseconds":1}}',
    '{"QMP":{}}',
    '{"QMP":{"version":{"qemu":{"major":"7"}}}}',
  ])('refuses %s', (text) => {
    expect(() => parseMessage(text)).toThrow(refused)
  })

  it('answers any text with a message or a typed error', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        try {
          expect(parseMessage(text)).toHaveProperty('type')
        } catch (error) {
          expect(error).toEqual(refused)
        }
      }),
    )
  })
})
