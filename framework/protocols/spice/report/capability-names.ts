import {
  COMMON_CAP,
  DISPLAY_CAP,
  INPUTS_CAP,
  MAIN_CAP,
  PLAYBACK_CAP,
  RECORD_CAP,
  type ChannelName,
} from '../wire/numbers.ts'

/** Bits of `SPICE_SPICEVMC_CAP_*`. */
const DATA_CAP = { lz4: 0 } as const

const BY_CHANNEL: Record<ChannelName, Readonly<Record<string, number>>> = {
  main: MAIN_CAP,
  display: DISPLAY_CAP,
  inputs: INPUTS_CAP,
  cursor: {},
  playback: PLAYBACK_CAP,
  record: RECORD_CAP,
  smartcard: DATA_CAP,
  usbredir: DATA_CAP,
  port: DATA_CAP,
  webdav: DATA_CAP,
}

/** Names of the bits that every channel has. Those without one are `bit 17`. */
export function commonCapabilityNames(words: readonly number[]): string[] {
  return namesOf(words, COMMON_CAP)
}

/** Names of the bits that a channel has of its own. */
export function capabilityNames(channel: ChannelName, words: readonly number[]): string[] {
  return namesOf(words, BY_CHANNEL[channel])
}

function namesOf(words: readonly number[], known: Readonly<Record<string, number>>): string[] {
  const names = new Map(Object.entries(known).map(([name, bit]) => [bit, name]))
  return words.flatMap((word, index) =>
    Array.from({ length: 32 }, (_, at) => index * 32 + at)
      .filter((bit) => ((word >>> (bit & 31)) & 1) === 1)
      .map((bit) => names.get(bit) ?? `bit ${bit}`),
  )
}
