import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Platform } from '../../../lab/platform/index.ts'
import { Caller, idsOf, type Json } from './caller.ts'

export interface WorldUnderTest {
  platform: Platform
  /** The VMs the hypervisors have, sorted. */
  machines(): Promise<string[]>
  close(): Promise<void>
}

/** What every world must do for the platform; after each test both sides are as they were before. */
export function worldContract(name: string, open: () => Promise<WorldUnderTest>, timeoutMs: number): void {
  describe(`the platform on ${name}`, { timeout: timeoutMs }, () => {
    let world: WorldUnderTest
    let caller: Caller
    let before: unknown

    beforeAll(async () => {
      world = await open()
      caller = await Caller.open(world.platform)
    }, timeoutMs)
    afterAll(async () => {
      await world?.close()
    }, timeoutMs)

    const both = async () => ({
      domains: (await caller.list('/domain?pageSize=100')).map((row) => row['name']),
      pools: await caller.list('/desk-pool'),
      machines: await world.machines(),
    })
    beforeEach(async () => {
      before = await both()
    })
    afterEach(async () => {
      world.platform.faults.clear()
      expect(await both()).toEqual(before)
    })

    const verb = (name: string, ids: string[], more?: object) => caller.verb(name, ids, more, timeoutMs)
    const remove = (id: string) => caller.ok('DELETE', `/ocloud/v1/desk-pool/${id}`)

    it('takes two VMs of a pool through every state', async () => {
      const { id, vms } = await caller.pool('two', 2)
      const ids = idsOf(vms)
      expect(await world.machines()).toEqual(['two-1', 'two-2'])
      expect(new Set(vms.map((vm) => vm['hostId'])).size).toBe(2)
      for (const [name, state] of [
        ['start', 1],
        ['suspend', 2],
        ['resume', 1],
        ['sleep', 3],
        ['wakeup', 1],
      ] as const)
        expect([name, await verb(name, ids)]).toEqual([name, [state, state]])
      await verb('close', ids, { isForce: 1 })
      await remove(id)
    })

    it('reboots, and shuts down on request, and cuts the power of what is suspended or asleep', async () => {
      const { id, vms } = await caller.pool('off', 2)
      const ids = idsOf(vms)
      await verb('start', ids)
      expect(await verb('reboot', ids.slice(0, 1))).toEqual([1])
      expect(await verb('close', ids.slice(0, 1))).toEqual([0])
      await verb('suspend', ids.slice(1))
      expect(await verb('close', ids.slice(1), { isForce: 1 })).toEqual([0])
      await verb('start', ids.slice(1))
      await verb('sleep', ids.slice(1))
      expect(await verb('close', ids.slice(1), { isForce: 1 })).toEqual([0])
      expect(await verb('start', ids.slice(1))).toEqual([1])
      await verb('close', ids.slice(1), { isForce: 1 })
      await remove(id)
    })

    it('keeps and restores snapshots, in the state they were made in', async () => {
      const { id, vms } = await caller.pool('snap', 1)
      const ids = idsOf(vms)
      const [one] = ids
      const snapshot = async (name: string) => {
        const { eventId } = await caller.post<Json>(`/domain/${one}/snapshot`, { name })
        expect(await caller.outcome(eventId as string)).toBe('ok')
        return (await caller.list(`/domain/${one}/snapshot?keyword=${name}`))[0] as Json
      }
      const restore = async ({ id }: Json) => {
        await caller.post(`/snapshot/${id}/restore`)
        await caller.post(`/domain/${one}/sync-status`, { syncType: 1 })
        return (await caller.vm(one as string))['status']
      }
      const off = await snapshot('off')
      await verb('start', ids)
      const on = await snapshot('running')
      await verb('suspend', ids)
      const suspended = await snapshot('suspended')
      expect([off, on, suspended].map((row) => row['domainStatus'])).toEqual([0, 1, 2])
      expect([await restore(on), await restore(off), await restore(on), await restore(suspended)]).toEqual([1, 0, 1, 2])
      for (const row of [off, on, suspended]) await caller.ok('DELETE', `/ocloud/v1/snapshot/${row['id']}`)
      await verb('close', ids, { isForce: 1 })
      await remove(id)
    })

    it('tells where the consoles are and what libvirt says of the VM', async () => {
      const { id, vms } = await caller.pool('screen', 1)
      const [one] = idsOf(vms)
      expect(await caller.get(`/domain/${one}/port`)).toEqual([])
      await verb('start', [one as string])
      const ports = await caller.get<{ type: string; value: number }[]>(`/domain/${one}/port`)
      expect(ports.map(({ type }) => type)).toEqual(['spice', 'vnc'])
      const spice = await caller.get<Json>(`/domain/${one}/spice-key`)
      expect(spice).toMatchObject({ port: String(ports[0]?.value), ip: vms[0]?.['ip'], name: 'screen-1' })
      const xml = await caller.get<string>(`/domain/${one}/xml`)
      expect(xml).toContain(`<uuid>${one}</uuid>`)
      expect(xml).toContain(`port='${ports[0]?.value}'`)
      expect(xml).toContain('org.qemu.guest_agent.0')
      expect(xml).not.toContain(spice['key'])
      await verb('close', [one as string], { isForce: 1 })
      await remove(id)
    })

    it('leaves nothing when a pool gets fewer VMs than asked, its VMs hang, or cannot start', async () => {
      const { faults } = world.platform
      faults.add({ kind: 'fewer', operation: 'deskPool.create', reason: 'no room' })
      await expect(caller.pool('short', 2)).rejects.toThrow('no room')
      const [pool] = await caller.list('/desk-pool?keyword=short')
      const ids = idsOf(await caller.get<Json[]>(`/desk-pool/${pool?.['id']}/domain/list`))
      expect(ids).toHaveLength(1)

      faults.add({ kind: 'fail', operation: 'domain.start', reason: 'no memory' })
      await expect(verb('start', ids)).rejects.toThrow('no memory')
      expect(await caller.settled(ids)).toEqual([0])

      faults.add({ kind: 'stuck', operation: 'domain.start' })
      const { eventIdList } = await caller.post<{ eventIdList: string[] }>('/domain/start', { idList: ids })
      expect((await caller.vm(ids[0] as string))['status']).toBe(5)
      expect(await verb('close', ids, { isForce: 1 })).toEqual([0])
      expect(await caller.outcome(eventIdList[0] as string)).toContain('interrupted')

      const hostId = (await caller.vm(ids[0] as string))['hostId'] as string
      await caller.ok('PATCH', `/ocloud/v1/host/${hostId}/status`, { status: 0 })
      await expect(verb('start', ids)).rejects.toThrow('maintenance')
      await caller.ok('PATCH', `/ocloud/v1/host/${hostId}/status`, { status: 1 })
      await remove(pool?.['id'] as string)
    })
  })
}
