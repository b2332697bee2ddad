/** A thousand verified actions in untouched guests: no false alarm. `ATP_SOAK_ROUNDS` sets another number. */
import { describe, expect, it } from 'vitest'
import { leaseVm } from '../lab/leased-vm.ts'
import { throwDice } from '../support/sabotage/seed.ts'
import { actUntouched, spotless, WAYS } from '../support/sabotage/untouched.ts'

const ROUNDS = Number(process.env['ATP_SOAK_ROUNDS'] ?? 1000)

describe('an untouched guest', () => {
  it.each(WAYS)(
    `stays green ${ROUNDS} times over $via with $profile, seen by $observe`,
    async ({ profile, ...way }) => {
      const dice = throwDice()
      const { vm, end } = await leaseVm(profile)
      const startedMs = performance.now()
      const actions = new Map<string, number>()
      let events = 0
      try {
        for (let round = 0; round < ROUNDS; round++) {
          const delivery = await actUntouched(vm, dice, way)
          expect(delivery, `round ${round}`).toMatchObject(spotless(delivery))
          events += delivery.sent
          actions.set(delivery.action, (actions.get(delivery.action) ?? 0) + 1)
        }
      } finally {
        await end()
      }
      const seconds = Math.round((performance.now() - startedMs) / 1000)
      const summary = { profile, ...way, rounds: ROUNDS, events, seconds, ...Object.fromEntries(actions) }
      process.stderr.write(`${JSON.stringify(summary)}\n`)
    },
  )
})
