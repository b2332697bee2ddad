/**
 * Seats each VM of a request on one of its eligible hosts without exceeding any host's room. Finds a complete
 * seating whenever there is one (augmenting paths), which a first-fit choice would miss and then wait forever.
 *
 * @param eligible Host ids each VM may go to.
 * @param room VMs each host can still take.
 * @param prefer Sorts hosts, best first, given how many VMs of this request they have got so far.
 * @returns One host per VM, `undefined` for those that found no seat; as few of them as possible.
 */
export function assign(
  eligible: readonly (readonly string[])[],
  room: ReadonlyMap<string, number>,
  prefer: (hosts: readonly string[], taken: ReadonlyMap<string, number>) => string[] = (hosts) => [...hosts],
): (string | undefined)[] {
  const seats: (string | undefined)[] = eligible.map(() => undefined)
  const taken = new Map<string, number>()
  const count = (host: string) => taken.get(host) ?? 0
  const sit = (vm: number, host: string) => {
    const before = seats[vm]
    if (before !== undefined) taken.set(before, count(before) - 1)
    seats[vm] = host
    taken.set(host, count(host) + 1)
  }
  const seat = (vm: number, visited: Set<string>): boolean => {
    const hosts = prefer(eligible[vm] ?? [], taken).filter((host) => !visited.has(host))
    const free = hosts.find((host) => count(host) < (room.get(host) ?? 0))
    if (free !== undefined) {
      sit(vm, free)
      return true
    }
    for (const host of hosts) {
      if (visited.has(host)) continue
      visited.add(host)
      const movable = seats.findIndex((at, other) => at === host && seat(other, visited))
      if (movable !== -1) {
        sit(vm, host)
        return true
      }
    }
    return false
  }
  for (let vm = 0; vm < eligible.length; vm++) seat(vm, new Set())
  return seats
}
