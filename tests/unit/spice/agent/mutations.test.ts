import fc from 'fast-check'
import { expect, it } from 'vitest'
import { isAtpError } from '../../../../framework/core/errors.ts'
import { SpiceAgent } from '../../../../framework/protocols/spice/agent/index.ts'
import {
  AGENT_MESSAGE_MAX_BYTES,
  AgentFramer,
  frameAgentMessage,
} from '../../../../framework/protocols/spice/agent/framer.ts'
import { StandInAgent } from './stand-in-agent.ts'

const MUTATIONS = Number(process.env['ATP_MUTATIONS'] ?? 500)
/** Each of them takes two turns of the event loop. */
const LIMIT_MS = 30_000 + MUTATIONS * 10

const message = fc.record({ type: fc.nat(20), body: fc.uint8Array({ maxLength: 80 }) })

it('messages come out as they went in, however the stream is cut', () => {
  fc.assert(
    fc.property(fc.array(message, { maxLength: 8 }), fc.array(fc.integer({ min: 1, max: 60 })), (messages, cuts) => {
      const heard: { type: number; body: number[] }[] = []
      const framer = new AgentFramer('test', (type, body) => heard.push({ type, body: [...body] }))
      const bytes = Buffer.concat(messages.map(({ type, body }) => frameAgentMessage(type, body)))
      let at = 0
      for (const cut of cuts) framer.push(bytes.subarray(at, (at += cut)))
      framer.push(bytes.subarray(at))
      expect(heard).toEqual(messages.map(({ type, body }) => ({ type, body: [...body] })))
    }),
  )
})

it('a length that lies costs nothing', () => {
  const framer = new AgentFramer('test', () => {})
  const lying = frameAgentMessage(4, new Uint8Array(1))
  new DataView(lying.buffer, lying.byteOffset).setUint32(16, AGENT_MESSAGE_MAX_BYTES + 1, true)
  expect(() => framer.push(lying)).toThrow('are announced, allowed are')
})

/** Words as real messages have them: selections, types, ids, statuses, serials. */
const word = fc.oneof(fc.constantFrom(0, 1, 2, 3, 4, 7, 255, 0xffff_ffff), fc.nat())
const said = fc.record({
  type: fc.oneof({ weight: 9, arbitrary: fc.integer({ min: 1, max: 16 }) }, { weight: 1, arbitrary: fc.nat() }),
  words: fc.array(word, { maxLength: 6 }),
  cut: fc.nat(3),
  lie: fc.option(fc.nat(40), { freq: 12 }),
})

it(
  'whatever an agent says, it is understood or refused by name, and an honest one is heard afterwards',
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(said, { minLength: 1, maxLength: 6 }), async (all) => {
        const guest = new StandInAgent(['clipboardByDemand', 'clipboardSelection'])
        const agent = new SpiceAgent(guest.carrier)
        guest.connect()
        await agent.ready()
        const reading = agent.clipboard.read().catch((error: unknown) => error)
        const sending = agent.sendFile('a', new Uint8Array(3)).catch((error: unknown) => error)
        // Both are under way.
        await new Promise((resolve) => setImmediate(resolve))
        for (const { type, words, cut, lie } of all) {
          const body = new Uint8Array(Uint32Array.from(words).buffer)
          const bytes = frameAgentMessage(type, body.subarray(0, Math.max(0, body.length - cut)))
          if (lie !== null) bytes[lie % bytes.length] = 0x5a
          guest.sayBytes(bytes)
          await Promise.resolve()
        }
        const refused = await agent.ready().then(
          () => undefined,
          (error: unknown) => error,
        )
        if (refused !== undefined) expect(isAtpError(refused, 'ATP_SPICE_AGENT')).toBe(true)
        guest.leave()
        for (const outcome of [await reading, await sending]) {
          if (typeof outcome !== 'string' && outcome !== undefined) expect(isAtpError(outcome)).toBe(true)
        }
        guest.connect()
        expect((await agent.ready()).size).toBe(2)
      }),
      { numRuns: MUTATIONS },
    )
  },
  LIMIT_MS,
)
