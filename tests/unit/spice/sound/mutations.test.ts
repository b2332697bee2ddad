import fc from 'fast-check'
import { expect, it } from 'vitest'
import { isAtpError } from '../../../../framework/core/index.ts'
import { PlaybackChannel, RecordChannel } from '../../../../framework/protocols/spice/channels/sound.ts'
import { SpiceSound, SpiceVmConnection, type SpiceChannel } from '../../../../framework/protocols/spice/index.ts'
import { SoundRecording } from '../../../../framework/protocols/spice/sound/recording.ts'
import { SpiceWriter } from '../../../../framework/protocols/spice/wire/writer.ts'

const MUTATIONS = Number(process.env['ATP_MUTATIONS'] ?? 500)
/** Each of them takes a turn of the event loop. */
const LIMIT_MS = 30_000 + MUTATIONS * 10

const session = new SpiceVmConnection('vm', {
  server: { name: 'nowhere', open: () => Promise.reject(new Error('nowhere')) },
})

/** What every channel does with a message, without a stream. */
type Handling = { handle(type: number, body: Uint8Array): boolean }

/** A session whose sound channels are there and say what a test tells them to. */
function withChannels() {
  const channels = { playback: new PlaybackChannel(session), record: new RecordChannel(session) }
  const connection = {
    openChannel: async (type: 'playback' | 'record', { prepare }: { prepare(channel: SpiceChannel): void }) => {
      prepare(channels[type])
      return channels[type]
    },
  }
  Object.defineProperty(channels.playback, 'state', { value: 'open' })
  return { ...channels, sound: new SpiceSound(connection as never) }
}

const odd = fc.oneof(fc.nat(12), fc.constantFrom(0xffff_ffff, 0x8000_0000, 0x7fff_ffff, 44_100, 768_001), fc.nat())
const mostly = (honest: number) =>
  fc.oneof({ weight: 6, arbitrary: fc.constant(honest) }, { weight: 1, arbitrary: odd })
const clock = fc.oneof(fc.nat(1000), fc.constantFrom(0xffff_ff00, 0x8000_0000), fc.nat())

/** Messages of a playback channel: each field may be wrong, and each message may be cut. */
const message = fc
  .oneof(
    fc.tuple(mostly(2), mostly(1), mostly(44_100), clock).map(([channels, format, rate, time]) => {
      const body = new SpiceWriter().u32(channels).u16(format & 0xffff)
      return { type: 103, body: body.u32(rate).u32(time).finish() }
    }),
    fc.tuple(clock, mostly(1)).map(([time, mode]) => {
      return {
        type: 102,
        body: new SpiceWriter()
          .u32(time)
          .u16(mode & 0xffff)
          .finish(),
      }
    }),
    fc.tuple(clock, fc.nat(300), fc.nat(3), fc.integer()).map(([time, frames, extra, seed]) => {
      const samples = Uint8Array.from({ length: frames * 4 + (extra === 3 ? 2 : 0) }, (_, at) => at * seed)
      return { type: 101, body: new SpiceWriter().u32(time).bytes(samples).finish() }
    }),
    fc.constant({ type: 104, body: new Uint8Array(0) }),
    fc.tuple(odd, fc.uint8Array({ maxLength: 20 })).map(([count, rest]) => {
      return { type: 105, body: Uint8Array.from([count & 0xff, ...rest]) }
    }),
    fc.tuple(fc.constantFrom(106, 107, 101, 102, 103), fc.uint8Array({ maxLength: 20 })).map(([type, body]) => {
      return { type, body }
    }),
  )
  .chain((honest) =>
    fc.option(fc.nat(honest.body.length), { freq: 8 }).map((cut) => {
      return cut === null ? honest : { ...honest, body: honest.body.subarray(0, cut) }
    }),
  )

it(
  'whatever is played, it is heard with figures that are numbers, or refused by name',
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(message, { minLength: 1, maxLength: 12 }), async (messages) => {
        const { playback, sound } = withChannels()
        const listening = await sound.startListening()
        try {
          for (const { type, body } of messages) (playback as unknown as Handling).handle(type, body)
          const heard = listening.stop()
          const { durationMs, rmsDbfs, peakDbfs, latestMs, gaps, samples } = heard
          const figures = [durationMs, rmsDbfs, peakDbfs, latestMs, heard.frequencyHz ?? 0]
          for (const figure of [...figures, ...gaps.flatMap((gap) => [gap.atMs, gap.durationMs])]) {
            expect(Number.isFinite(figure)).toBe(true)
          }
          expect(gaps.every((gap) => gap.durationMs >= 0 && gap.atMs >= 0)).toBe(true)
          expect(heard.wav().length).toBe(44 + samples.byteLength)
        } catch (error) {
          expect(isAtpError(error, 'ATP_SPICE_PROTOCOL') || isAtpError(error, 'ATP_SPICE_UNSUPPORTED')).toBe(true)
        }
      }),
      { numRuns: MUTATIONS },
    )
  },
  LIMIT_MS,
)

it('a format that would take more memory than sound is worth is refused', () => {
  const { record } = withChannels()
  const start = new SpiceWriter().u32(8).u16(1).u32(0xffff_ffff).finish()
  expect(() => (record as unknown as Handling).handle(101, start)).toThrow(
    expect.objectContaining({ code: 'ATP_SPICE_PROTOCOL' }),
  )
})

it('very many stretches have figures, and no more packets are kept than sound may have', { timeout: 120_000 }, () => {
  const format = { channels: 1, frequencyHz: 8000 }
  const packet = new Uint8Array(2)
  const recording = new SoundRecording('test')
  // More than a function may have arguments.
  for (let at = 0; at < 130_000; at++) {
    recording.start(format)
    recording.add(at, packet)
  }
  expect(recording.finish().packets).toBe(130_000)
  recording.add(0, new Uint8Array(0))
  for (let at = 130_000; at < 400_001; at++) recording.add(at, packet)
  expect(() => recording.finish()).toThrow(expect.objectContaining({ code: 'ATP_SPICE_SOUND_LENGTH' }))
})
