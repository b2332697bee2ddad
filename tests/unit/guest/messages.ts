/** Arbitrary messages of the verifier protocol. */
import fc from 'fast-check'
import {
  RESERVED_TYPES,
  type AgentMessage,
  type ExpectedInput,
  type InputKind,
  type ServerMessage,
} from '../../../guest/protocol/index.ts'

const text = (maxLength: number) =>
  fc.string({ minLength: 1, maxLength, unit: 'grapheme' }).filter((each) => each.length <= maxLength)
const v = fc.constant(1 as const)
const eventId = text(128)
const ns = fc.bigInt({ min: 0n, max: 10n ** 19n }).map(String)
const nonce = fc.nat()
const amount = fc.double({ min: 0, max: 1e15, noNaN: true }).map(Math.abs)
// `__proto__` cannot be told from a prototype once it went through object spreads.
const details = fc.dictionary(
  text(20).filter((name) => name !== '__proto__'),
  fc.jsonValue().map((value) => JSON.parse(JSON.stringify(value)) as unknown),
)
const kind = fc.constantFrom<InputKind>('key', 'abs', 'rel')
const code = fc.nat(0xffff)
const value = fc.integer({ min: -0x7fff_ffff, max: 0x7fff_ffff })
const device = fc.constantFrom('keyboard' as const, 'mouse' as const)

export const expectedInput: fc.Arbitrary<ExpectedInput> = fc.oneof(
  fc.tuple(kind, code, value),
  fc.tuple(kind, code, value, fc.constant('optional' as const)),
)
const optionally = <T extends object>(base: fc.Arbitrary<T>, extra: fc.Arbitrary<object>): fc.Arbitrary<T> =>
  fc.tuple(base, fc.option(extra)).map(([left, right]) => ({ ...left, ...right }))

const ping = fc.record({ v, type: fc.constantFrom('ping' as const, 'pong' as const), nonce })

export const agentMessage: fc.Arbitrary<AgentMessage> = fc.oneof(
  optionally(
    fc.record({
      v,
      type: fc.constant('hello' as const),
      vm_id: text(256),
      session: text(128),
      verifiers: fc.array(text(64), { maxLength: 5 }),
      agent: fc.record({
        version: text(64),
        platform: fc.constantFrom('linux' as const, 'win32' as const, 'browser' as const),
      }),
      level: fc.constantFrom('kernel' as const, 'browser' as const),
      reads_clock: fc.boolean(),
    }),
    fc.record({ token: text(4096) }),
  ),
  fc.record({ v, event_id: eventId, verified: fc.boolean(), timestamp: amount, latency_ms: amount, details }),
  fc.record({
    v,
    type: fc.constant('seen' as const),
    event_id: eventId,
    seen: fc.array(fc.tuple(fc.nat(), ns), { maxLength: 20 }),
    unexpected: fc.nat(),
  }),
  optionally(fc.record({ v, type: fc.constant('gap' as const), reason: text(400) }), fc.record({ event_id: eventId })),
  optionally(fc.record({ v, type: fc.constant('time' as const), nonce, guest_ns: ns }), fc.record({ error_ns: ns })),
  ping,
  fc.record({ v, type: fc.constant('raw' as const), device, kind, code, value, guest_ns: ns }),
)

export const serverMessage: fc.Arbitrary<ServerMessage> = fc.oneof(
  fc.record({ v, type: fc.constant('welcome' as const) }),
  fc.record({ v, type: fc.constant('refused' as const), code: text(64), message: text(400) }),
  optionally(
    fc.record({
      v,
      event_id: eventId,
      type: text(64).filter((name) => !RESERVED_TYPES.has(name)),
      action: text(64),
      timestamp: amount,
      metadata: fc.tuple(details, fc.nat(3_600_000)).map(([rest, timeout_ms]) => ({ ...rest, timeout_ms })),
    }),
    fc.record({ key: text(64) }),
  ),
  fc.record({
    v,
    type: fc.constant('expect' as const),
    event_id: eventId,
    device,
    add: fc.array(expectedInput, { maxLength: 20 }),
    last: fc.boolean(),
  }),
  fc.record({ v, type: fc.constant('release' as const), event_id: eventId }),
  fc.record({ v, type: fc.constant('time' as const), nonce }),
  ping,
  fc.record({ v, type: fc.constant('trace' as const), on: fc.boolean() }),
)
