import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { assign } from '../../../framework/leases/assignment.ts'

const HOSTS = ['a', 'b', 'c']

/** Most VMs that can be seated, by trying everything. */
function best(eligible: readonly (readonly string[])[], room: ReadonlyMap<string, number>): number {
  const [first, ...rest] = eligible
  if (first === undefined) return 0
  let most = best(rest, room)
  for (const host of first) {
    const left = room.get(host) ?? 0
    if (left > 0) most = Math.max(most, 1 + best(rest, new Map(room).set(host, left - 1)))
  }
  return most
}

describe('assign', () => {
  it('moves an undemanding VM away from the only host a picky one can use', () => {
    expect(
      assign(
        [['a', 'b'], ['a']],
        new Map([
          ['a', 1],
          ['b', 1],
        ]),
      ),
    ).toEqual(['b', 'a'])
  })

  it('seats as many as possible, each on an eligible host, within the room', () => {
    fc.assert(
      fc.property(
        fc.array(fc.subarray(HOSTS), { maxLength: 6 }),
        fc.tuple(fc.nat(3), fc.nat(3), fc.nat(3)),
        (eligible, counts) => {
          const room = new Map(HOSTS.map((host, index) => [host, counts[index] as number]))
          const seats = assign(eligible, room)
          expect(seats).toHaveLength(eligible.length)
          expect(seats.filter((seat) => seat !== undefined)).toHaveLength(best(eligible, room))
          for (const [vm, seat] of seats.entries()) if (seat !== undefined) expect(eligible[vm]).toContain(seat)
          for (const host of HOSTS)
            expect(seats.filter((seat) => seat === host).length).toBeLessThanOrEqual(room.get(host) as number)
        },
      ),
    )
  })
})
