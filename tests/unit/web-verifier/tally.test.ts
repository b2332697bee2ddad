import { describe, expect, it } from 'vitest'
import { Tally } from '../../../guest/web/tally.ts'
import type { VerifyResult } from '../../../guest/protocol/index.ts'

const result = (event_id: string, verified: boolean, details = {}): VerifyResult => ({
  v: 1,
  event_id,
  verified,
  timestamp: 0,
  latency_ms: 1,
  details,
})
const receive = (tally: Tally, message: unknown, atMs = 0) => tally.received(JSON.stringify(message), atMs)

describe('what the page has verified', () => {
  it('counts input by device, and single events', () => {
    const tally = new Tally()
    receive(tally, { v: 1, type: 'expect', event_id: 'k', device: 'keyboard', add: [], last: false })
    receive(tally, { v: 1, type: 'expect', event_id: 'm', device: 'mouse', add: [], last: false })
    expect(tally.busy).toBe(true)
    tally.sent({ v: 1, type: 'seen', event_id: 'k', seen: [[0, '1']], unexpected: 0 }, 0)
    tally.sent({ v: 1, type: 'seen', event_id: 'm', seen: [], unexpected: 2 }, 0)
    receive(tally, { v: 1, type: 'release', event_id: 'k' })
    tally.sent(result('k', false, { lost: 3, reordered: 1 }), 0)
    tally.sent(result('m', false, { code: 'ATP_VERIFIER_DEVICE' }), 0)
    tally.sent({ v: 1, type: 'gap', event_id: 'm', reason: 'hidden' }, 0)
    expect(tally.input).toEqual({
      keyboard: { seen: 1, lost: 3, unexpected: 0, reordered: 1 },
      mouse: { seen: 0, lost: 0, unexpected: 2, reordered: 0 },
    })
    receive(tally, { event_type: 'keyboard', event_id: 'a', key: 'a' })
    receive(tally, { v: 1, type: 'text', event_id: 'b', metadata: { text: 'x' } })
    expect(tally.busy).toBe(true)
    tally.sent(result('a', true), 0)
    tally.sent(result('b', false), 0)
    expect([tally.verified, tally.failed, tally.gaps, tally.busy]).toEqual([1, 1, 1, false])
  })

  it('measures the way to the server and back', () => {
    const tally = new Tally()
    tally.sent({ v: 1, type: 'ping', nonce: 1 }, 100)
    receive(tally, { v: 1, type: 'pong', nonce: 2 }, 101)
    expect(tally.roundTripMs).toBeUndefined()
    receive(tally, { v: 1, type: 'pong', nonce: 1 }, 104)
    expect(tally.roundTripMs).toBe(4)
  })

  it('begins anew with a connection, and keeps what was counted', () => {
    const tally = new Tally()
    let changes = 0
    tally.onChange = () => changes++
    receive(tally, { v: 1, type: 'welcome' })
    receive(tally, { v: 1, type: 'keyboard', event_id: 'a', key: 'a' })
    tally.sent(result('z', true), 0)
    expect([tally.welcome, tally.busy]).toEqual([true, true])
    tally.began()
    expect([tally.welcome, tally.busy, tally.verified]).toEqual([false, false, 1])
    receive(tally, { v: 1, type: 'refused', code: 'ATP_VERIFIER_TOKEN', message: 'no' })
    expect(tally.refusal).toBe('ATP_VERIFIER_TOKEN')
    expect(changes).toBe(5)
  })

  it.each(['', 'null', '[]', '{', '"x"', '{"type":7}'])('survives %j', (text) => {
    const tally = new Tally()
    tally.received(text, 0)
    expect(tally.busy).toBe(false)
  })
})
