import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AtpError, connectError, remoteError, timeoutError } from '../../../framework/core/index.ts'
import {
  encodeLine,
  fromWireError,
  LineDecoder,
  MAX_MESSAGE_BYTES,
  toCall,
  toWireError,
} from '../../../framework/leases/codec.ts'

const broken = expect.objectContaining({ code: 'ATP_BROKER_MESSAGE', branch: 'protocol' })
const decode = (bytes: Uint8Array) => () => new LineDecoder().push(bytes)

describe('lines', () => {
  it('survive any way of cutting the stream', () => {
    fc.assert(
      fc.property(
        fc.array(fc.dictionary(fc.string({ unit: 'grapheme' }), fc.jsonValue())),
        fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1 }),
        (messages, sizes) => {
          const bytes = Buffer.concat(messages.map((message) => encodeLine(message)))
          const decoder = new LineDecoder()
          const seen: unknown[] = []
          for (let start = 0, turn = 0; start < bytes.length; turn++) {
            const end = start + (sizes[turn % sizes.length] as number)
            seen.push(...decoder.push(bytes.subarray(start, end)))
            start = end
          }
          expect(JSON.stringify(seen)).toBe(JSON.stringify(messages))
        },
      ),
    )
  })

  it('carry Chinese text unharmed', () => {
    const message = { holder: '登录：输入密码 → 桌面' }
    expect(new LineDecoder().push(encodeLine(message))).toEqual([message])
  })

  it('are refused when too long, with and without an end', () => {
    expect(() => encodeLine({ text: 'x'.repeat(MAX_MESSAGE_BYTES) })).toThrow(broken)
    expect(decode(Buffer.alloc(MAX_MESSAGE_BYTES, 'x'))).toThrow(broken)
    const decoder = new LineDecoder()
    decoder.push(Buffer.alloc(MAX_MESSAGE_BYTES - 1, 'x'))
    expect(() => decoder.push(Buffer.from('x'))).toThrow(broken)
  })

  it.each(['nonsense\n', '[]\n', '"text"\n', 'null\n', '\n', '{"a":1}{"b":2}\n'])(
    'are refused when not a JSON object: %j',
    (line) => {
      expect(decode(Buffer.from(line))).toThrow(broken)
    },
  )

  it('are refused when not UTF-8', () => {
    expect(decode(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d, 0x0a]))).toThrow(broken)
  })

  it('never fail in another way, whatever arrives', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          for (const message of new LineDecoder().push(bytes)) toCall(message)
        } catch (error) {
          expect(error).toEqual(broken)
        }
      }),
    )
  })
})

describe('calls', () => {
  it.each([
    {},
    { id: 1 },
    { id: 1, verb: 'constructor' },
    { id: 1.5, verb: 'status' },
    { id: 1, verb: 'lease' },
    { id: 1, verb: 'lease', request: [], timeoutMs: 1 },
    { id: 1, verb: 'lease', request: {}, timeoutMs: '1' },
    { id: 1, verb: 'release' },
    { id: 1, verb: 'drain', run: 7 },
    { id: 1, verb: 'cancel', call: 'x' },
    { id: 1, verb: 'standbys', perHost: null },
    { id: 1, verb: 'hello', protocol: 1, version: '1', run: 'r', kind: 'king', pid: 1 },
    { id: 1, verb: 'hello', protocol: 1, version: '1', run: 'r', kind: 'run', pid: 1, serves: 1 },
  ])('that are none are refused: %j', (message) => {
    expect(() => toCall(message)).toThrow(broken)
  })
})

describe('errors', () => {
  it('arrive as they were thrown', () => {
    const cause = remoteError('ATP_LIBVIRT_REMOTE', '域不存在', {
      context: { vm: 'vm-001' },
      cause: new Error('errno 2'),
    })
    const thrown = timeoutError('ATP_LEASE_TIMEOUT', 'no VM within 5 ms', {
      cause,
      context: { timeoutMs: 5, big: 7n },
      retryable: true,
      remedy: 'wait longer',
      verdict: 'infrastructure',
    })
    const arrived = fromWireError(JSON.parse(JSON.stringify(toWireError(thrown))))
    expect(arrived).toBeInstanceOf(AtpError)
    const { code, branch, message, retryable, remedy, verdict } = thrown
    expect(arrived).toMatchObject({
      code,
      branch,
      message,
      retryable,
      remedy,
      verdict,
      context: { timeoutMs: 5, big: '7' },
    })
    expect(arrived.cause).toMatchObject({ code: 'ATP_LIBVIRT_REMOTE', message: '域不存在', context: { vm: 'vm-001' } })
    expect((arrived.cause as Error).cause).toEqual(new Error('errno 2'))
  })

  it('that nobody threw on purpose are defects of the broker', () => {
    expect(fromWireError(toWireError(new TypeError('x is not a function')))).toMatchObject({
      code: 'ATP_BROKER_INTERNAL',
      verdict: 'framework',
    })
  })

  it('with contexts and causes JSON cannot hold still arrive', () => {
    const loop: Record<string, unknown> = {}
    loop['self'] = loop
    let error = connectError('ATP_A', 'root')
    for (let depth = 0; depth < 50; depth++)
      error = connectError('ATP_A', `level ${depth}`, { cause: error, context: loop })
    const arrived = fromWireError(JSON.parse(JSON.stringify(toWireError(error))))
    expect(arrived).toMatchObject({ message: 'level 49', context: {} })
  })

  it.each([undefined, null, 1, 'x', [], {}, { code: 1, branch: 'x', verdict: 'y', message: 2, cause: 3 }])(
    'of a strange peer do no harm: %j',
    (wire) => {
      expect(fromWireError(wire)).toMatchObject({ code: 'ATP_BROKER_INTERNAL', branch: 'internal' })
    },
  )
})
