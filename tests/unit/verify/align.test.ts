import fc from 'fast-check'
import { expect, it } from 'vitest'
import { align } from '../../../framework/verify/align.ts'

const sequence = fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 40 })

/** Length of the longest common subsequence by the textbook table. */
function lcsLength(a: readonly number[], b: readonly number[]): number {
  let row = Array.from({ length: b.length + 1 }, () => 0)
  for (const left of a) {
    const next = [0]
    b.forEach((right, index) =>
      next.push(
        left === right ? (row[index] as number) + 1 : Math.max(row[index + 1] as number, next[index] as number),
      ),
    )
    row = next
  }
  return row.at(-1) as number
}

it('finds a longest common subsequence and accounts for every element', () => {
  fc.assert(
    fc.property(sequence, sequence, (a, b) => {
      const result = align(a, b)
      if (!result) throw new Error('not aligned')
      expect(result.matched.length).toBe(lcsLength(a, b))
      for (const [left, right] of result.matched) expect(a[left]).toBe(b[right])
      expect([...result.matched.map(([left]) => left), ...result.onlyA].toSorted((x, y) => x - y)).toEqual([
        ...a.keys(),
      ])
      expect([...result.matched.map(([, right]) => right), ...result.onlyB].toSorted((x, y) => x - y)).toEqual([
        ...b.keys(),
      ])
    }),
  )
})

it('gives up on sequences that have nothing in common instead of filling the memory', () => {
  const a = Array.from({ length: 3000 }, (_, index) => index)
  expect(
    align(
      a,
      a.map((value) => value + 10_000),
    ),
  ).toBeUndefined()
})
