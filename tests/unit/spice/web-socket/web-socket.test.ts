import fc from 'fast-check'
import { expect, it } from 'vitest'
import { isAtpError } from '../../../../framework/core/index.ts'
import { FrameParser, maskedFrame, OPCODE } from '../../../../framework/protocols/spice/web-socket/frames.ts'
import { WebSocketByteStream } from '../../../../framework/protocols/spice/web-socket/stream.ts'
import { memoryPair } from '../../../../framework/transport/index.ts'

const MUTATIONS = Number(process.env['ATP_MUTATIONS'] ?? 1000)
const NO_MASK = new Uint8Array(4)

/** A frame as servers send it. `isLast` is false where the message goes on in another frame. */
function serverFrame(opcode: number, payload: Uint8Array, isLast = true): Uint8Array {
  const masked = maskedFrame(opcode, payload, NO_MASK)
  const startBytes = masked.length - payload.length
  const frame = Uint8Array.from([...masked.subarray(0, startBytes - 4), ...payload])
  frame[0] = (isLast ? 0x80 : 0) | opcode
  frame[1] = (frame[1] as number) & 0x7f
  return frame
}

const payloadOf = (...lengths: number[]) =>
  fc.oneof(
    fc.uint8Array({ maxLength: 20 }),
    fc.constantFrom(...lengths).map((length) => new Uint8Array(length).fill(length)),
  )
const payload = payloadOf(125, 126, 127, 0xffff, 0x1_0000)
const framesWith = (payload: fc.Arbitrary<Uint8Array<ArrayBuffer>>) =>
  fc.array(
    fc.record({
      opcode: fc.constantFrom(OPCODE.binary, OPCODE.text, OPCODE.continuation, OPCODE.ping, OPCODE.pong),
      payload,
      isLast: fc.boolean(),
    }),
    { maxLength: 6 },
  )
const frames = framesWith(payload)
const shortFrames = framesWith(payloadOf(125, 126, 300))

function bytesOf(all: readonly { opcode: number; payload: Uint8Array; isLast: boolean }[]): Uint8Array {
  return Buffer.concat(
    all.map(({ opcode, payload, isLast }) =>
      opcode >= OPCODE.close ? serverFrame(opcode, payload.subarray(0, 125)) : serverFrame(opcode, payload, isLast),
    ),
  )
}

it('what frames hold comes out, however the stream is cut, also when it is stopped at any place', () => {
  fc.assert(
    fc.property(
      frames,
      fc.array(fc.integer({ min: 1, max: 40_000 }), { maxLength: 20 }),
      fc.infiniteStream(fc.boolean()),
      (all, cuts, goesOn) => {
        const data: Uint8Array[] = []
        const controls: number[] = []
        const parser = new FrameParser(
          {
            onData: (bytes) => {
              data.push(new Uint8Array(bytes))
              return goesOn.next().value as boolean
            },
            onControl: (opcode, bytes) => void controls.push(opcode, ...bytes),
          },
          (what) => new Error(what),
        )
        const stream = bytesOf(all)
        let at = 0
        for (const cut of [...cuts, stream.length]) parser.push(stream.subarray(at, (at += cut)))
        // A parser that was stopped goes on when it is asked to.
        for (let more = 0; more < 200; more++) parser.push()
        const wanted = all.filter(({ opcode }) => opcode < OPCODE.close).map(({ payload }) => payload)
        expect(Buffer.compare(Buffer.concat(data), Buffer.concat(wanted))).toBe(0)
        const said = all.filter(({ opcode }) => opcode >= OPCODE.close)
        expect(controls).toEqual(said.flatMap(({ opcode, payload }) => [opcode, ...payload.subarray(0, 125)]))
      },
    ),
    { numRuns: 100 },
  )
})

it('what a client writes is masked, of any length', () => {
  fc.assert(
    fc.property(payload, fc.uint8Array({ minLength: 4, maxLength: 4 }), (bytes, mask) => {
      const frame = maskedFrame(OPCODE.binary, bytes, mask)
      const startBytes = frame.length - bytes.length
      expect(frame[0]).toBe(0x82)
      expect((frame[1] as number) & 0x80).toBe(0x80)
      expect(startBytes).toBe(bytes.length < 126 ? 6 : bytes.length < 0x1_0000 ? 8 : 14)
      const seen = frame.subarray(startBytes).map((byte, at) => byte ^ (mask[at % 4] as number))
      expect(Buffer.compare(seen, bytes)).toBe(0)
    }),
    { numRuns: 100 },
  )
})

it('bad frames are refused by name, and nothing is kept of what they announce', () => {
  const change = fc.record({ at: fc.nat(), value: fc.oneof(fc.constantFrom(0, 127, 128, 255), fc.nat(255)) })
  fc.assert(
    fc.property(shortFrames, fc.array(change, { minLength: 1, maxLength: 4 }), (all, changes) => {
      const stream = new Uint8Array(bytesOf(all))
      // Half of them where headers are.
      for (const { at, value } of changes) if (stream.length > 0) stream[at % 2 ? at % stream.length : at % 4] = value
      let heard = 0
      const sink = {
        onData: (bytes: Uint8Array) => {
          heard += bytes.length
          return true
        },
        onControl: (_: number, bytes: Uint8Array) => void (heard += bytes.length),
      }
      try {
        new FrameParser(sink, (what) => new Error(`refused: ${what}`)).push(stream)
      } catch (error) {
        expect((error as Error).message).toMatch(/^refused: /)
      }
      expect(heard).toBeLessThanOrEqual(stream.length)
    }),
    { numRuns: MUTATIONS },
  )
})

/** An open WebSocket, and the server's end of it. */
function opened() {
  const [here, server] = memoryPair()
  const stream = new WebSocketByteStream('ws://test/', here)
  const heard: number[] = []
  const ended = new Promise<Error | undefined>((resolve) => {
    stream.start({ onData: (bytes) => void heard.push(...bytes), onClose: resolve })
  })
  const answers: number[][] = []
  server.start({ onData: (bytes) => void answers.push([...bytes]), onClose: () => {} })
  return { stream, server, heard, ended, answers }
}

it('pings are answered, and a close is the end', async () => {
  const { server, heard, ended, answers, stream } = opened()
  await server.write(serverFrame(OPCODE.ping, Uint8Array.of(1, 2, 3)))
  await server.write(serverFrame(OPCODE.binary, Uint8Array.of(7)))
  await expect.poll(() => answers.length).toBe(1)
  const [first, second, ...rest] = answers[0] as number[]
  expect([first, second]).toEqual([0x8a, 0x83])
  expect(rest.slice(4).map((byte, at) => byte ^ (rest[at] as number))).toEqual([1, 2, 3])
  await server.write(serverFrame(OPCODE.close, Uint8Array.of(3, 232)))
  expect(await ended).toBeUndefined()
  expect(heard).toEqual([7])
  expect(stream.confidential).toBe(false)
})

it('what comes while it is paused comes afterwards', async () => {
  const { stream, server, heard } = opened()
  stream.pause()
  await server.write(serverFrame(OPCODE.binary, Uint8Array.of(1, 2)))
  await new Promise((resolve) => setImmediate(resolve))
  expect(heard).toEqual([])
  stream.resume()
  await expect.poll(() => heard).toEqual([1, 2])
})

it('a frame that breaks the protocol ends the stream with its reason', async () => {
  const { server, ended } = opened()
  await server.write(maskedFrame(OPCODE.binary, Uint8Array.of(1), NO_MASK))
  const error = await ended
  expect(isAtpError(error, 'ATP_SPICE_WEBSOCKET')).toBe(true)
  expect(error?.message).toContain('a frame that is masked')
})
