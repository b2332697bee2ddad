import fc from 'fast-check'
import { expect, it } from 'vitest'
import { isAtpError } from '../../../../framework/core/index.ts'
import { DataChannel, PortChannel } from '../../../../framework/protocols/spice/channels/data.ts'
import { InputsChannel } from '../../../../framework/protocols/spice/channels/inputs.ts'
import { MainChannel } from '../../../../framework/protocols/spice/channels/main.ts'
import { PlaybackChannel, RecordChannel } from '../../../../framework/protocols/spice/channels/sound.ts'
import { SpiceVmConnection, type SpiceChannel } from '../../../../framework/protocols/spice/index.ts'
import { SpiceWriter } from '../../../../framework/protocols/spice/wire/writer.ts'

const MUTATIONS = Number(process.env['ATP_MUTATIONS'] ?? 2000)

/** What every channel does with a message, without a stream. */
type Handling = { handle(type: number, body: Uint8Array): boolean }

const session = new SpiceVmConnection('vm', {
  server: { name: 'nowhere', open: () => Promise.reject(new Error('nowhere')) },
})

/** Real messages to begin with, as words: main init, channel list, volumes, formats, a port's name … */
const SEEDS: [type: number, words: number[]][] = [
  [103, [7, 1, 3, 1, 0, 10, 0, 0]],
  [104, [2, 0x0003_0002]],
  [105, [0x0002_0003]],
  [113, [5, 0x6d76_2d31, 0x31]],
  [114, [1, 2, 3, 4]],
  [115, [10]],
  [101, [2, 0xac44_0001, 0, 0]],
  [103, [2, 0xbb80_0001, 0, 7]],
  [105, [0xffff_ff02, 0xffff]],
  [201, [4, 9, 0x6961_6401, 0x0076]],
  [202, [1]],
]

const body = fc
  .record({
    seed: fc.constantFrom(...SEEDS),
    words: fc.array(
      fc.tuple(fc.nat(7), fc.oneof(fc.nat(300), fc.constantFrom(0xffff_ffff, 0x8000_0000, 0x7fff_ffff), fc.nat())),
      { maxLength: 4 },
    ),
    type: fc.option(fc.integer({ min: 101, max: 203 })),
    cut: fc.option(fc.nat(33)),
  })
  .map(({ seed, words, type, cut }) => {
    const mutated = [...seed[1]]
    for (const [at, value] of words) if (at < mutated.length) mutated[at] = value
    const writer = new SpiceWriter()
    for (const word of mutated) writer.u32(word)
    const bytes = writer.finish()
    return { type: type ?? seed[0], bytes: cut === null ? bytes : bytes.subarray(0, cut) }
  })

const CHANNELS: [string, SpiceChannel][] = [
  ['main', new MainChannel(session)],
  ['inputs', new InputsChannel(session)],
  ['playback', new PlaybackChannel(session)],
  ['record', new RecordChannel(session)],
  ['port', new PortChannel(session, 'port')],
  ['usbredir', new DataChannel(session, 'usbredir')],
]

it.each(CHANNELS)('messages of %s channels, however mutated, are taken or refused with a typed error', (_, channel) => {
  const { handle } = channel as unknown as Handling
  fc.assert(
    fc.property(body, ({ type, bytes }) => {
      try {
        expect(typeof handle.call(channel, type, bytes)).toBe('boolean')
      } catch (error) {
        expect(isAtpError(error, 'ATP_SPICE_PROTOCOL') || isAtpError(error, 'ATP_SPICE_UNSUPPORTED')).toBe(true)
      }
    }),
    { numRuns: MUTATIONS },
  )
})
