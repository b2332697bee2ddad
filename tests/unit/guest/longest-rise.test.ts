import fc from 'fast-check'
import { expect, it } from 'vitest'
import { longestRise } from '../../../guest/core/longest-rise.ts'

it('is that of the best choice among all', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat(30), { maxLength: 9 }), (numbers) => {
      let best = 0
      for (let choice = 0; choice < 2 ** numbers.length; choice++) {
        const chosen = numbers.filter((_, index) => (choice >> index) & 1)
        if (chosen.every((number, index) => index === 0 || number > (chosen[index - 1] as number))) {
          best = Math.max(best, chosen.length)
        }
      }
      expect(longestRise(numbers)).toBe(best)
    }),
  )
})
