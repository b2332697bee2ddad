import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { HostDescription, LeaseRequest, VmRequest } from '../../../framework/leases/api.ts'
import { Scheduler, type Plan, type SchedulerOptions, type Slot } from '../../../framework/leases/scheduler.ts'

const HOSTS: HostDescription[] = [
  { id: 'a', uri: 'qemu+a:///session', capacity: 3, labels: ['gpu', 'fast'] },
  { id: 'b', uri: 'qemu+b:///session', capacity: 2, labels: ['fast'] },
]
const nameOf = (index: number) => `vm-${String(index).padStart(3, '0')}`
const make = (options: Partial<SchedulerOptions> = {}) =>
  new Scheduler({ hosts: HOSTS, nameOf, profiles: ['ps2', 'virtio'], ...options })
const ask = (...vms: VmRequest[]): LeaseRequest => ({ holder: 'a test', vms })
const places = (plan: Plan) =>
  plan.grants.map(({ ticket, vms }) => [ticket, ...vms.map((vm) => `${vm.name}@${vm.host}`)])

/** Ends a lease; its VMs are gone at once. */
function finish(scheduler: Scheduler, ticket: number): void {
  for (const slot of scheduler.end(ticket)) scheduler.gone(slot)
}

describe('granting', () => {
  it('spreads VMs over hosts by their free share, one after the other too', () => {
    const scheduler = make()
    scheduler.submit(1, ask({}, {}, {}))
    expect(places(scheduler.plan())).toEqual([[1, 'vm-001@a', 'vm-002@b', 'vm-003@a']])
    finish(scheduler, 1)
    scheduler.submit(2, ask({}))
    expect(places(scheduler.plan())).toEqual([[2, 'vm-001@b']])
    finish(scheduler, 2)
  })

  it('grants all VMs of a request or none', () => {
    const scheduler = make()
    scheduler.submit(1, ask({}, {}))
    scheduler.submit(2, ask({}, {}, {}, {}))
    expect(places(scheduler.plan())).toHaveLength(1)
    expect(scheduler.reasonOf(2)).toBe('waits for room for 1 VM on a, b')
    finish(scheduler, 1)
    expect(scheduler.plan().grants[0]?.vms).toHaveLength(4)
  })

  it('lets nobody overtake a request that waits for room', () => {
    const scheduler = make()
    scheduler.submit(1, ask({}))
    scheduler.submit(2, ask({}, {}, {}, {}, {}))
    scheduler.submit(3, ask({}))
    expect(places(scheduler.plan())).toHaveLength(1)
    finish(scheduler, 1)
    expect(scheduler.plan().grants.map((grant) => grant.ticket)).toEqual([2])
  })

  it('lets others pass a request that waits for a name', () => {
    const scheduler = make()
    scheduler.submit(1, ask({ name: 'vm-001' }))
    scheduler.submit(2, ask({ name: 'vm-001' }))
    scheduler.submit(3, ask({ name: 'vm-001' }))
    scheduler.submit(4, ask({}))
    expect(places(scheduler.plan())).toEqual([
      [1, 'vm-001@a'],
      [4, 'vm-002@b'],
    ])
    const [slot] = scheduler.end(1) as [Slot]
    expect(places(scheduler.plan())).toEqual([])
    expect(scheduler.reasonOf(2)).toBe('waits for vm-001, which is dying')
    scheduler.gone(slot)
    expect(scheduler.plan().grants.map((grant) => grant.ticket)).toEqual([2])
    finish(scheduler, 2)
    expect(scheduler.plan().grants.map((grant) => grant.ticket)).toEqual([3])
  })

  it('counts room until a VM is gone', () => {
    const scheduler = make()
    scheduler.submit(1, ask({ host: 'b' }, { host: 'b' }))
    scheduler.plan()
    const slots = scheduler.end(1)
    scheduler.submit(2, ask({ host: 'b' }))
    expect(scheduler.plan().grants).toEqual([])
    scheduler.gone(slots[0] as Slot)
    expect(places(scheduler.plan())).toEqual([[2, 'vm-001@b']])
  })

  it('keeps labels, hosts and the order of the request', () => {
    const scheduler = make()
    scheduler.submit(
      1,
      ask(
        { labels: ['fast'] },
        { labels: ['gpu'] },
        { host: 'b' },
        { name: 'x', host: 'c-outside', ownership: 'attached' },
      ),
    )
    const [grant] = scheduler.plan().grants
    expect(grant?.vms.map((vm) => vm.host)).toEqual([expect.any(String), 'a', 'b', 'c-outside'])
    expect(grant?.vms[3]).toMatchObject({ name: 'x', ownership: 'attached', slot: undefined })
  })

  it('holds locks and attached VMs for one at a time', () => {
    const scheduler = make()
    scheduler.submit(1, { holder: 't', vms: [{ name: 'win', host: 'h', ownership: 'attached' }], locks: ['licence'] })
    scheduler.submit(2, { holder: 't', vms: [], locks: ['licence'] })
    scheduler.submit(3, ask({ name: 'win', host: 'h', ownership: 'attached' }))
    scheduler.submit(4, ask({ name: 'win', host: 'other', ownership: 'attached' }))
    expect(scheduler.plan().grants.map((grant) => grant.ticket)).toEqual([1, 4])
    expect(scheduler.reasonOf(2)).toBe('waits for lock "licence"')
    expect(scheduler.reasonOf(3)).toBe('waits for h/win')
    expect(scheduler.end(1)).toEqual([])
    expect(scheduler.plan().grants.map((grant) => grant.ticket)).toEqual([2, 3])
  })

  it('moves a VM whose making failed to another host with room', () => {
    const scheduler = make()
    scheduler.submit(1, ask({ labels: ['fast'] }))
    const slot = scheduler.plan().grants[0]?.vms[0]?.slot as Slot
    expect([slot.host, scheduler.relocate(slot), slot.host]).toEqual(['a', 'b', 'b'])
    scheduler.submit(2, ask({ host: 'a' }))
    const pinned = scheduler.plan().grants[0]?.vms[0]?.slot as Slot
    expect(scheduler.relocate(pinned)).toBeUndefined()
  })
})

describe('refusing', () => {
  const refusal = (request: LeaseRequest) => {
    try {
      make().submit(1, request)
    } catch (error) {
      return error as { code: string; message: string }
    }
    throw new Error('it was accepted')
  }

  it.each([
    [ask({ host: 'z' }), /the host "z", which does not exist\n.*hosts: a \(3 VMs, gpu, fast\); b \(2 VMs, fast\)/],
    [ask({ labels: ['arm'] }), /the labels arm, which no host has/],
    [ask({ host: 'b', labels: ['gpu'] }), /the labels gpu, which host "b" does not have/],
    [ask({ profile: 'usb' }), /profile "usb", which does not exist\n.*profiles: ps2, virtio/],
    [ask({}, {}, {}, {}, {}, {}), /6 VMs at once; the hosts it allows have room for 5/],
    [ask({ host: 'b' }, { host: 'b' }, { host: 'b' }), /3 VMs at once; the hosts it allows have room for 2/],
  ])('what can never be: %j', (request, message) => {
    expect(refusal(request)).toMatchObject({
      code: 'ATP_LEASE_IMPOSSIBLE',
      branch: 'config',
      message: expect.stringMatching(message),
    })
  })

  it.each([
    [{ holder: '', vms: [{}] }, /who asks/],
    [{ holder: 't', vms: [] }, /asks for nothing/],
    [{ holder: 't' }, /no list of VMs/],
    [{ holder: 't', vms: [null] }, /not an object/],
    [ask({ name: 'vm-001' }, { name: 'vm-001' }), /vm-001 twice/],
    [ask({ name: 'a/b' }), /called "a\/b"/],
    [ask({ ownership: 'attached', name: 'x' }), /without its name and host/],
    [ask({ ownership: 'mine' as never }), /unknown ownership "mine"/],
    [ask({ labels: 'gpu' as never }), /`labels`/],
    [{ holder: 't', vms: [{}], locks: [1] }, /`locks`/],
  ])('what is not well formed: %j', (request, message) => {
    expect(refusal(request as LeaseRequest)).toMatchObject({
      code: 'ATP_LEASE_REQUEST',
      message: expect.stringMatching(message),
    })
  })
})

describe('standbys', () => {
  /** A scheduler whose wanted standbys are ready. */
  const stocked = (perHost: Record<string, number>, options: Partial<SchedulerOptions> = {}) => {
    const scheduler = make(options)
    scheduler.setStandbys(perHost)
    for (let { fill } = scheduler.plan(); fill.length > 0; { fill } = scheduler.plan())
      for (const slot of fill) scheduler.ready(slot)
    return scheduler
  }
  const states = (scheduler: Scheduler) => [...scheduler.slots].map((slot) => `${slot.name}@${slot.host} ${slot.state}`)

  it('are made on each host, one at a time, as far as there is room', () => {
    const scheduler = make()
    scheduler.setStandbys({ ps2: 9 })
    expect(scheduler.plan().fill.map((slot) => slot.host)).toEqual(['a', 'b'])
    expect(scheduler.plan().fill).toEqual([])
    expect([...stocked({ ps2: 9 }).slots]).toHaveLength(5)
  })

  it('are handed out to requests for their profile, by name too', () => {
    const scheduler = stocked({ ps2: 1 })
    scheduler.submit(1, ask({ profile: 'virtio' }))
    scheduler.submit(2, ask({ name: 'vm-002' }))
    scheduler.submit(3, ask({}))
    const grants = scheduler.plan().grants.map(({ vms: [vm] }) => [vm?.name, vm?.standby])
    expect(grants).toEqual([
      ['vm-003', false],
      ['vm-002', true],
      ['vm-001', true],
    ])
  })

  it('make room for requests they are no use to', () => {
    const scheduler = stocked({ ps2: 9 })
    scheduler.submit(1, ask({ profile: 'virtio', host: 'b' }))
    const { evict, fill } = scheduler.plan()
    expect(evict.map((slot) => slot.host)).toEqual(['b'])
    expect(fill).toEqual([])
    expect(scheduler.plan().evict).toEqual([])
    scheduler.gone(evict[0] as Slot)
    expect(scheduler.plan().grants).toHaveLength(1)
  })

  it('that the request can use itself are evicted last', () => {
    const scheduler = stocked({ ps2: 1, virtio: 1 })
    scheduler.submit(1, ask({ host: 'b' }, { host: 'b' }))
    expect(scheduler.plan().evict.map((slot) => slot.profile)).toEqual(['virtio'])
  })

  it('give up a name that is needed for another profile', () => {
    const scheduler = stocked({ ps2: 1 })
    scheduler.submit(1, ask({ name: 'vm-001', profile: 'virtio' }))
    const { evict } = scheduler.plan()
    expect(evict.map((slot) => slot.name)).toEqual(['vm-001'])
    scheduler.gone(evict[0] as Slot)
    expect(scheduler.plan().grants[0]?.vms[0]).toMatchObject({ name: 'vm-001', profile: 'virtio', standby: false })
  })

  it('asked for by name are not made a second time when an earlier request waits for their host', () => {
    const scheduler = stocked({ ps2: 1 })
    scheduler.submit(1, ask({ host: 'a', profile: 'virtio' }, { host: 'a', profile: 'virtio' }))
    scheduler.plan()
    const dying = scheduler.end(1)
    scheduler.submit(2, ask({ host: 'a', profile: 'virtio' }))
    scheduler.submit(3, ask({ name: 'vm-001' }))
    expect(scheduler.plan()).toEqual({ grants: [], evict: [], fill: [] })
    expect(scheduler.reasonOf(3)).toBe('waits behind an earlier request for room on a')
    for (const slot of dying) scheduler.gone(slot)
    expect(scheduler.plan().grants.map(({ vms: [vm] }) => [vm?.name, vm?.standby])).toEqual([
      ['vm-003', false],
      ['vm-001', true],
    ])
  })

  it('come back by recycling, and a request waits for that rather than for a new VM', () => {
    const scheduler = stocked({ ps2: 1 }, { recycles: true })
    scheduler.submit(1, ask({}, {}))
    expect(scheduler.plan().fill).toEqual([])
    const [first, second] = scheduler.end(1) as [Slot, Slot]
    expect([scheduler.recycle(first), scheduler.recycle(second)]).toEqual([true, true])
    scheduler.submit(2, ask({}))
    expect(scheduler.plan()).toEqual({ grants: [], evict: [], fill: [] })
    expect(scheduler.reasonOf(2)).toBe('waits for vm-001, which is being reset')
    scheduler.ready(first)
    expect(scheduler.plan().grants[0]?.vms[0]).toMatchObject({ name: 'vm-001', standby: true })
    expect(states(scheduler)).toEqual(['vm-001@a leased', 'vm-002@b recycling'])
  })

  it('are not recycled when nobody wants any', () => {
    const scheduler = make({ recycles: true })
    scheduler.submit(1, ask({}))
    scheduler.plan()
    const [slot] = scheduler.end(1) as [Slot]
    expect(scheduler.recycle(slot)).toBe(false)
  })

  it('are surplus once fewer are wanted', () => {
    const scheduler = stocked({ ps2: 2 })
    scheduler.setStandbys({ ps2: 1 })
    expect(scheduler.surplus().map((slot) => slot.host)).toEqual(['a', 'b'])
  })
})

describe('whatever happens', () => {
  const vm: fc.Arbitrary<VmRequest> = fc.record(
    {
      name: fc.constantFrom('vm-001', 'vm-002', 'vm-007'),
      host: fc.constantFrom('a', 'b'),
      profile: fc.constantFrom('ps2', 'virtio'),
      labels: fc.subarray(['gpu', 'fast']),
    },
    { requiredKeys: [] },
  )
  const attached = fc.record({
    name: fc.constantFrom('x', 'y'),
    host: fc.constant('h'),
    ownership: fc.constant('attached' as const),
  })
  const request = fc.record({
    holder: fc.constant('t'),
    vms: fc.array(fc.oneof({ arbitrary: vm, weight: 6 }, { arbitrary: attached, weight: 1 }), {
      minLength: 1,
      maxLength: 4,
    }),
    locks: fc.subarray(['l1', 'l2']),
  })
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ do: fc.constant('submit' as const), request }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('end' as const), pick: fc.nat() }) },
    { weight: 5, arbitrary: fc.record({ do: fc.constant('settle' as const), pick: fc.nat() }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('relocate' as const), pick: fc.nat() }) },
    {
      weight: 1,
      arbitrary: fc.record({
        do: fc.constant('standbys' as const),
        perHost: fc.record({ ps2: fc.nat(2), virtio: fc.nat(1) }),
      }),
    },
  )

  /** Runs the scheduler's plans and checks what must hold after each of them. */
  class World {
    readonly scheduler: Scheduler
    readonly requests = new Map<number, LeaseRequest>()
    /** VMs that really exist or are being made or destroyed. */
    readonly real = new Map<string, Slot>()
    readonly held = new Map<number, { vms: string[]; locks: Set<string> }>()
    #ticket = 0
    constructor(recycles: boolean) {
      this.scheduler = make({ recycles })
    }
    submit(wanted: LeaseRequest): void {
      const ticket = ++this.#ticket
      try {
        this.scheduler.submit(ticket, wanted)
        this.requests.set(ticket, wanted)
      } catch (error) {
        expect((error as { code: string }).code).toMatch(/^ATP_LEASE_(IMPOSSIBLE|REQUEST)$/)
      }
    }
    plan(): void {
      const { grants, fill } = this.scheduler.plan()
      const made = [
        ...grants.flatMap(({ vms }) => vms.flatMap((got) => (got.slot && !got.standby ? [got.slot] : []))),
        ...fill,
      ]
      for (const slot of made) {
        expect(this.real.has(slot.name), `${slot.name} exists already`).toBe(false)
        this.real.set(slot.name, slot)
      }
      for (const { ticket, vms } of grants) {
        const wanted = this.requests.get(ticket) as LeaseRequest
        expect(this.held.has(ticket)).toBe(false)
        expect(vms).toHaveLength(wanted.vms.length)
        for (const [index, got] of vms.entries()) {
          const { name, host, labels = [], profile, ownership } = wanted.vms[index] as VmRequest
          if (name !== undefined) expect(got.name).toBe(name)
          if (host !== undefined) expect(got.host).toBe(host)
          if (ownership === 'attached') continue
          expect(got.profile).toBe(profile ?? 'ps2')
          for (const label of labels) expect(HOSTS.find((one) => one.id === got.host)?.labels).toContain(label)
        }
        const locks = new Set([
          ...(wanted.locks ?? []),
          ...vms.filter((got) => !got.slot).map((got) => `${got.host}/${got.name}`),
        ])
        for (const other of this.held.values()) expect([...locks].filter((lock) => other.locks.has(lock))).toEqual([])
        this.held.set(ticket, { vms: vms.flatMap((got) => got.slot?.name ?? []), locks })
      }
      const slots = [...this.scheduler.slots]
      expect(new Set(slots)).toEqual(new Set(this.real.values()))
      for (const { id, capacity } of HOSTS)
        expect(slots.filter((slot) => slot.host === id).length).toBeLessThanOrEqual(capacity)
      const leased = slots.filter((slot) => slot.state === 'leased').map((slot) => slot.name)
      expect(leased.sort()).toEqual([...this.held.values()].flatMap((lease) => lease.vms).sort())
    }
    end(pick: number): void {
      const tickets = [...this.requests.keys()]
      const ticket = tickets[pick % tickets.length]
      if (ticket === undefined) return
      this.requests.delete(ticket)
      this.held.delete(ticket)
      for (const slot of this.scheduler.end(ticket)) this.scheduler.recycle(slot)
    }
    /** One background task finishes. */
    settle(pick: number): void {
      const busy = [...this.scheduler.slots].filter(({ state }) => state !== 'leased' && state !== 'standby')
      const slot = busy[pick % busy.length]
      if (!slot) return
      if (slot.state === 'dying') {
        this.scheduler.gone(slot)
        this.real.delete(slot.name)
      } else this.scheduler.ready(slot)
      for (const extra of this.scheduler.surplus()) this.scheduler.dying(extra)
    }
    relocate(pick: number): void {
      const leased = [...this.scheduler.slots].filter((slot) => slot.state === 'leased')
      const slot = leased[pick % leased.length]
      if (slot) this.scheduler.relocate(slot)
    }
  }

  it('capacity, names and locks hold, and everybody is served in the end', () => {
    fc.assert(
      fc.property(fc.boolean(), fc.array(step, { maxLength: 60 }), (recycles, steps) => {
        const world = new World(recycles)
        for (const one of steps) {
          if (one.do === 'submit') world.submit(one.request)
          else if (one.do === 'end') world.end(one.pick)
          else if (one.do === 'settle') world.settle(one.pick)
          else if (one.do === 'relocate') world.relocate(one.pick)
          else world.scheduler.setStandbys(one.perHost)
          world.plan()
        }
        // Holders give back, tasks finish: the line must get shorter until it is empty.
        for (let rounds = 0; world.scheduler.waiting.length > 0; rounds++) {
          expect(
            rounds,
            `still waiting: ${world.scheduler.waiting.map((ticket) => world.scheduler.reasonOf(ticket)).join('; ')}`,
          ).toBeLessThan(500)
          const holder = [...world.requests.keys()].findIndex((ticket) => world.held.has(ticket))
          if (holder !== -1) world.end(holder)
          world.settle(0)
          world.plan()
        }
      }),
      { numRuns: 400 },
    )
  })

  it('a request for everything is served although small ones keep coming', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(4), { minLength: 20, maxLength: 40 }), (picks) => {
        const world = new World(false)
        for (let index = 0; index < 4; index++) world.submit(ask({}))
        world.plan()
        world.submit(ask({}, {}, {}, {}, {}))
        const big = Math.max(...world.requests.keys())
        for (const pick of picks) {
          world.submit(ask({}))
          const holders = [...world.held.keys()].filter((ticket) => ticket !== big)
          const ticket = holders[pick % holders.length]
          if (ticket !== undefined) world.end([...world.requests.keys()].indexOf(ticket))
          world.settle(pick)
          world.plan()
          if (world.held.has(big)) return
        }
        expect.unreachable('the big request starved')
      }),
    )
  })
})
