import { describe, expect, type TestContext } from 'vitest'
import type { ContractFault, Rig, Undo } from './rig.ts'

const LIST = 'GET /ocloud/v1/domain'
const START = 'POST /ocloud/v1/domain/start'
const CREATE_POOL = 'POST /ocloud/v1/desk-pool'
const CALLS = 50
const REASON = '存储不足: no space is left'

/** What goes wrong on the way, on the platform and on its hosts. */
export function faultsContract(rig: Rig): void {
  type Faults = NonNullable<Rig['platform']['faults']>

  /** A scenario that needs faults; one that the test sets goes with it. */
  const faulty = (
    name: string,
    work: (set: (fault: ContractFault) => () => void, undo: Undo, faults: Faults) => Promise<void>,
  ) =>
    rig.scenario(name, async (undo, context: TestContext) => {
      const { faults } = rig.platform
      if (!faults) return context.skip('this platform cannot be made to fail')
      const removals: (() => void)[] = []
      undo.push(async () => removals.forEach((remove) => remove()))
      const set = (fault: ContractFault) => {
        const remove = faults.set(fault)
        removals.push(remove)
        return remove
      }
      await work(set, undo, faults)
    })

  /** A pool's creation that is expected to fail, whose pool goes afterwards if there is one. */
  async function creation(undo: Undo, amount = 1): Promise<{ name: string; error: unknown }> {
    const { client } = rig
    const [model] = await client.models.listAll()
    const name = rig.newName()
    undo.push(() => rig.deletePool(name))
    const error = await client.deskPools
      .create({ name, amount, type: 0, domainPrefix: name, modelId: model?.id })
      .then(({ eventId }) => client.deskPools.waitForPool(name, amount, { events: [eventId] }))
      .then(
        () => 'no error',
        (thrown: unknown) => thrown,
      )
    return { name, error }
  }

  describe('answers that are none', () => {
    const KINDS = [
      ['http-500', 'ATP_VDI_HTTP', { httpStatus: 500 }],
      ['drop', 'ATP_VDI_CONNECT', {}],
      ['html', 'ATP_VDI_ANSWER', {}],
      ['truncated', 'ATP_VDI_CONNECT', {}],
    ] as const

    for (const [kind, code, context] of KINDS) {
      faulty(`${kind}: typed, and named after the operation`, async (set) => {
        set({ kind, operation: LIST, times: 0 })
        await expect(rig.client.domains.listAll()).rejects.toMatchObject({
          code,
          message: expect.stringContaining('domains.list'),
          context: { operation: 'domains.list', ...context },
        })
      })

      faulty(`${kind}: what changes something is sent once`, async (set, undo) => {
        set({ kind, operation: CREATE_POOL })
        const sent = await rig.during('deskPools.create', async () => {
          expect((await creation(undo)).error).toMatchObject({ code, context: { operation: 'deskPools.create' } })
        })
        expect(sent).toHaveLength(1)
      })
    }

    for (const kind of ['http-500', 'drop', 'truncated'] as const) {
      faulty(`${kind}: what changes nothing is sent again`, async (set) => {
        set({ kind, operation: LIST })
        const sent = await rig.during('domains.list', () => rig.client.domains.listAll())
        expect(sent.map(({ attempt, code }) => [attempt, code])).toEqual([
          [1, undefined],
          [2, 0],
        ])
      })
    }

    faulty('a pool whose answer was cut off is found by its name', async (set, undo) => {
      set({ kind: 'truncated', operation: CREATE_POOL })
      const { name } = await creation(undo)
      expect((await rig.client.deskPools.waitForPool(name, 1)).domains).toHaveLength(1)
    })

    faulty('an answer that takes too long is a timeout', async (set) => {
      set({ kind: 'latency', operation: LIST, ms: 5000 })
      await expect(rig.client.domains.listAll({}, { timeoutMs: 200 })).rejects.toMatchObject({
        code: 'ATP_VDI_TIMEOUT',
        context: { operation: 'domains.list', timeoutMs: 200 },
      })
    })
  })

  faulty('refusals carry code and words of the platform', async (set, undo) => {
    set({ kind: 'refuse', operation: CREATE_POOL, code: 9321, reason: REASON })
    expect((await creation(undo)).error).toMatchObject({
      code: 'ATP_VDI_REFUSED',
      message: expect.stringContaining(REASON),
      context: { operation: 'deskPools.create', code: 9321, message: REASON },
    })
  })

  describe('tokens that expire', () => {
    faulty(`${CALLS} calls at a time log in once`, async (_set, _undo, faults) => {
      const client = rig.newClient()
      await client.login()
      faults.expireTokens()
      const before = faults.logins()
      await Promise.all(Array.from({ length: CALLS }, () => client.hosts.listAll()))
      expect(faults.logins() - before).toBe(1)
    })

    faulty('in the middle of a change let it happen exactly once', async (set, undo, faults) => {
      const { domains } = rig.client
      const { id } = await rig.newVm(undo)
      set({ kind: 'expire-token', operation: START })
      const before = faults.logins()
      const { events } = await domains.start([id])
      await domains.waitForStatus([id], 'running', { events })
      expect(events).toHaveLength(1)
      expect(faults.logins() - before).toBe(1)
    })

    faulty('each time again are refused instead of asked for ever', async (set, _undo, faults) => {
      const client = rig.newClient()
      set({ kind: 'expire-token', operation: LIST, times: 0 })
      const before = faults.logins()
      await expect(client.domains.listAll()).rejects.toMatchObject({ code: 'ATP_VDI_REFUSED', context: { code: 1006 } })
      expect(faults.logins() - before).toBe(2)
    })
  })

  describe('VMs that do not do as they are told', () => {
    faulty('stuck in busy: the wait ends, and says so', async (set, undo) => {
      const { domains } = rig.client
      const { id, name } = await rig.newVm(undo)
      set({ kind: 'stuck', operation: START })
      const { events } = await domains.start([id])
      await expect(domains.waitForStatus([id], 'running', { events, timeoutMs: 1000 })).rejects.toMatchObject({
        code: 'ATP_VDI_TIMEOUT',
        message: expect.stringContaining(`${name} is busy (5)`),
      })
    })

    faulty('that fail: the wait ends with the reason', async (set, undo) => {
      const { domains } = rig.client
      const { id } = await rig.newVm(undo)
      set({ kind: 'fail', operation: START, reason: REASON })
      const { events } = await domains.start([id])
      await expect(domains.waitForStatus([id], 'running', { events })).rejects.toMatchObject({
        code: 'ATP_VDI_STATE',
        message: expect.stringContaining(REASON),
        context: { failed: [{ domainId: id }] },
      })
      expect((await domains.get(id)).status).toBe(0)
    })

    faulty('that are refused: a failure among successes', async (set, undo) => {
      const { domains } = rig.client
      const ids = [(await rig.newVm(undo)).id, (await rig.newVm(undo)).id]
      set({ kind: 'refuse-vm', operation: START, reason: REASON })
      const { events, failed } = await domains.start(ids, { partial: 'return' })
      expect(failed).toMatchObject([{ domainId: expect.toBeOneOf(ids), reason: REASON }])
      const started = ids.filter((id) => id !== failed[0]?.domainId)
      await domains.waitForStatus(started, 'running', { events })
    })
  })

  describe('pools that are not as asked', () => {
    faulty('fewer desktops, for which an event gives the reason', async (set, undo) => {
      set({ kind: 'fewer', operation: CREATE_POOL, count: 1, reason: REASON })
      expect((await creation(undo, 2)).error).toMatchObject({
        code: 'ATP_VDI_STATE',
        message: expect.stringContaining(REASON),
      })
    })

    faulty('fewer desktops, although the event tells of success', async (set, undo) => {
      set({ kind: 'fewer', operation: CREATE_POOL, count: 1 })
      expect((await creation(undo, 2)).error).toMatchObject({
        code: 'ATP_VDI_STATE',
        message: expect.stringContaining('made 1'),
        context: { amount: 2, delivered: 1 },
      })
    })

    faulty('a creation that fails', async (set, undo) => {
      set({ kind: 'fail', operation: CREATE_POOL, reason: REASON })
      expect((await creation(undo, 2)).error).toMatchObject({
        code: 'ATP_VDI_STATE',
        message: expect.stringContaining(REASON),
      })
    })
  })

  describe('hosts in maintenance', () => {
    faulty('start no VM, and get no pool', async (_set, undo) => {
      const { client } = rig
      const { id, name } = await rig.newVm(undo)
      const enabled = (await client.hosts.listAll({ status: [1] })).map((host) => host.id)
      const setAll = async (state: 'enabled' | 'maintenance') => {
        for (const hostId of enabled) await client.hosts.setStatus(hostId, state)
      }
      undo.push(() => setAll('enabled'))
      await setAll('maintenance')
      expect(await client.hosts.status(enabled[0] ?? '')).toBe('maintenance')
      await expect(client.domains.start([id])).rejects.toMatchObject({
        code: 'ATP_VDI_PARTIAL',
        message: expect.stringContaining(name),
        context: { events: [], failed: [{ domainId: id, reason: expect.stringContaining('maintenance') }] },
      })
      expect((await creation(undo, 2)).error).toMatchObject({
        code: 'ATP_VDI_STATE',
        message: expect.stringContaining('maintenance'),
      })
    })
  })
}
