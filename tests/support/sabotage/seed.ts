import { randomInt } from 'node:crypto'
import { onTestFailed } from 'vitest'

/** Random numbers that a seed repeats. */
export interface Dice {
  /** A whole number from `least` to `most`. */
  between(least: number, most: number): number
  pick<T>(from: readonly T[]): T
  /** So many lower-case letters, none beside its like. */
  letters(count: number): string
}

const LETTERS = 'abcdefghijklmnopqrstuvwxyz'

/** Dice for one test; its failure prints the seed, and `ATP_SABOTAGE_SEED` repeats it. */
export function throwDice(): Dice {
  const seed = Number(process.env['ATP_SABOTAGE_SEED'] ?? randomInt(2 ** 31))
  onTestFailed(() => void process.stderr.write(`repeat this with ATP_SABOTAGE_SEED=${seed}\n`))
  return diceOf(seed)
}

export function diceOf(seed: number): Dice {
  let state = seed >>> 0
  // mulberry32, whose states are all numbers of 32 bits.
  const random = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const between = (least: number, most: number) => least + Math.floor(random() * (most - least + 1))
  const pick = <T>(from: readonly T[]) => from[between(0, from.length - 1)] as T
  return {
    between,
    pick,
    letters(count) {
      let text = ''
      while (text.length < count) {
        const letter = pick([...LETTERS])
        if (letter !== text.at(-1)) text += letter
      }
      return text
    },
  }
}
