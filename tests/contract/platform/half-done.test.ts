/** What fails in the middle leaves what was there before. */
import { describe, expect, it, onTestFinished } from 'vitest'
import { remoteError } from '../../../framework/core/index.ts'
import { MemoryWorld, startPlatform } from '../../../lab/platform/index.ts'
import type { WorldVm } from '../../../lab/platform/world.ts'
import { Caller, idsOf, type Json } from './caller.ts'

const MACHINE = { bootloader: 'bios', mainBoard: 'pc', vgpuType: 'qxl', autoJoinDomain: 0, graphicsCardNum: 1 }
const REASON = '磁盘已满'

/** Hypervisors that make and change no machine of which `refuses` says so. */
class FullWorld extends MemoryWorld {
  refuses: (vm: WorldVm) => boolean = () => false

  override async create(vm: WorldVm): Promise<void> {
    if (this.refuses(vm)) throw remoteError('ATP_LAB_PLATFORM_UNSUPPORTED', REASON)
    await super.create(vm)
  }

  override async change(vm: WorldVm): Promise<void> {
    if (this.refuses(vm)) throw remoteError('ATP_LAB_PLATFORM_UNSUPPORTED', REASON)
    await super.change(vm)
  }
}

async function start() {
  const world = new FullWorld()
  const platform = await startPlatform({ world, behaviour: { busyMs: 0 } })
  onTestFinished(() => platform.close())
  const caller = await Caller.open(platform)
  const [store] = await caller.get<Json[]>('/domain/common-storage-pool')
  const volume = async (name: string) => {
    const body = { name, busType: 'virtio', size: 1, storagePoolId: store?.['id'] }
    return (await caller.post<{ id: string }>('/storage-volume', body)).id
  }
  /** Everything there is, in both worlds. */
  const worlds = async () => [world.list(), await caller.list('/domain'), await caller.list('/storage-volume')]
  return { world, caller, volume, worlds }
}

it('a VM that gets none of its disks is not made, and they stay free', async () => {
  const { world, caller, volume, worlds } = await start()
  const id = await volume('data')
  const before = await worlds()
  world.refuses = () => true
  const body = { ...MACHINE, name: 'vm', cores: 1, sockets: 1, threads: 1, volumeList: [{ id }] }
  expect(await caller.call('POST', '/ocloud/v1/domain', body)).toMatchObject({ status: 9500, msg: REASON })
  expect(await worlds()).toEqual(before)
})

it('a disk that cannot be taken off stays where it is, and its event says why', async () => {
  const { world, caller, volume, worlds } = await start()
  const { vms } = await caller.pool('p', 1)
  const [vm] = idsOf(vms)
  const disk = await volume('data')
  await caller.post(`/domain/${vm}/disk`, { volumeId: disk })
  const before = await worlds()
  world.refuses = ({ disks }) => disks.length === 0
  const { eventId } = await caller.post<{ eventId: string }>(`/domain/${vm}/disk/${disk}/unmount`)
  expect(await caller.outcome(eventId)).toBe(REASON)
  const times = (rows: unknown) => JSON.parse(JSON.stringify(rows, (key, value) => (key === 'updateTime' ? '' : value)))
  expect(times(await worlds())).toEqual(times(before))
})

it('disks for several VMs are refused before any gets one, where one of them is on', async () => {
  const { caller } = await start()
  const { vms } = await caller.pool('p', 2)
  const ids = idsOf(vms)
  await caller.verb('start', ids.slice(1))
  const body = { domainIdList: ids, diskSize: 1 }
  expect(await caller.call('POST', '/ocloud/v1/domain/independent-disk', body)).toMatchObject({ status: 9409 })
  expect(await caller.list('/storage-volume')).toEqual([])
})

it('a VM with a snapshot gets no restore point, and keeps the one it has', async () => {
  const { caller } = await start()
  const { vms } = await caller.pool('p', 3)
  const [kept, frozen, plain] = idsOf(vms) as [string, string, string]
  const { eventId } = await caller.post<{ eventId: string }>(`/domain/${kept}/snapshot`, { name: 's' })
  expect(await caller.outcome(eventId)).toBe('ok')
  await caller.post('/domain/freeze', { idList: [frozen], freezeType: 1 })
  const idList = [kept, frozen, plain]
  expect(await caller.post('/domain/freeze', { idList, freezeType: 2 })).toEqual([kept, frozen])
  expect(idsOf(await caller.list('/domain?freeze=1'))).toEqual([frozen])
  expect(idsOf(await caller.list('/domain?freeze=2'))).toEqual([plain])
})

describe('a machine that cannot be made anew is there as it was', () => {
  async function one() {
    const both = await start()
    const { id, vms } = await both.caller.pool('p', 1)
    const vm = vms[0] as Json
    const shown = async () => {
      const { hostId, hostName, name, motherId, status } = await both.caller.vm(vm['id'] as string)
      return { hostId, hostName, name, motherId, status, machines: both.world.list() }
    }
    return { ...both, pool: id, vm: vm['id'] as string, hostId: vm['hostId'] as string, shown, before: await shown() }
  }

  it('on another host', async () => {
    const { world, caller, vm, hostId, shown, before } = await one()
    const other = (await caller.list('/host')).find(({ id }) => id !== hostId)?.['id'] as string
    world.refuses = (machine) => machine.hostId === other
    await expect(caller.verb('start', [vm], { hostId: other })).rejects.toThrow(REASON)
    expect(await shown()).toEqual(before)
    expect(await caller.verb('start', [vm])).toEqual([1])
  })

  it('under another name', async () => {
    const { world, caller, vm, shown, before } = await one()
    world.refuses = ({ name }) => name === 'new'
    expect(await caller.call('PATCH', `/ocloud/v1/domain/${vm}`, { name: 'new' })).toMatchObject({ msg: REASON })
    expect(await shown()).toEqual(before)
  })

  it('from another template', async () => {
    const { world, caller, pool, shown, before } = await one()
    const [, second] = await caller.get<Json[]>('/model/all')
    world.refuses = ({ profile }) => profile === second?.['name']
    const body = { deskPoolId: pool, modelId: second?.['id'] }
    const { eventId } = await caller.post<{ eventId: string }>('/desk-pool/switch-model', body)
    expect(await caller.outcome(eventId)).toBe(REASON)
    expect(await shown()).toEqual(before)
  })
})
