/** Guests that nobody meddles with: every verdict is green. "npm run soak -- verification" does it a thousand times. */
import { describe, expect, it } from 'vitest'
import { throwDice } from '../../support/sabotage/seed.ts'
import { actUntouched, spotless, WAYS } from '../../support/sabotage/untouched.ts'
import { leaseVm } from '../leased-vm.ts'

const ROUNDS = 10

describe('an untouched guest', () => {
  it.each(WAYS)(
    `stays green ${ROUNDS} times over $via with $profile, seen by $observe`,
    async ({ profile, ...way }) => {
      const dice = throwDice()
      const { vm, end } = await leaseVm(profile)
      try {
        for (let round = 0; round < ROUNDS; round++) {
          const delivery = await actUntouched(vm, dice, way)
          expect(delivery).toMatchObject(spotless(delivery))
        }
      } finally {
        await end()
      }
    },
  )
})
