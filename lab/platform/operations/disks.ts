import { randomUUID } from 'node:crypto'
import { DOMAIN_VO, domainView } from '../domain-view.ts'
import { contains, operation, pageOf, type Call } from '../operation.ts'
import { refuse } from '../refusal.ts'
import { VM_STATUS, type VmRow, type VolumeRow } from '../rows.ts'
import { array, datetime, int, object, oneOf, page, PAGE, required, string, type ValueOf } from '../schema.ts'
import type { PlatformState } from '../state.ts'
import { idsOf } from './domain-verbs.ts'

const VOLUME_VO = object('StorageVolumeVO', {
  busType: string,
  createTime: datetime,
  domainId: string,
  domains: string,
  filename: string,
  hostId: string,
  id: string,
  isRecycle: int,
  isShare: int,
  isStartDisk: int,
  key: string,
  name: string,
  poolName: string,
  poolPath: string,
  poolType: string,
  readBytesSec: string,
  readIopsSec: string,
  size: int,
  storagePoolId: string,
  volFullPath: string,
  writeBytesSec: string,
  writeIopsSec: string,
})
const POOL_VOLUME_VO = object('PoolVolumeVO', {
  busType: string,
  domainId: string,
  domainName: string,
  domains: string,
  id: string,
  isModel: int,
  isStartDisk: int,
  name: string,
  poolPath: string,
  size: int,
  storagePoolId: string,
})

const LARGEST_GB = 2048
const busType = oneOf('virtio', 'scsi', 'ide')

function addVolume(state: PlatformState, wanted: { name: string; size: number; busType: string }, domainId?: string) {
  if (wanted.size < 1 || wanted.size > LARGEST_GB) {
    throw refuse('invalidValue', `the size is ${wanted.size} GB; it must be 1 to ${LARGEST_GB}`)
  }
  if (wanted.busType !== 'virtio') throw refuse('unsupported', `disks of bus type "${wanted.busType}" are not modelled`)
  const id = randomUUID()
  return state.volumes.add({
    ...wanted,
    id,
    filename: `${id}.raw`,
    storagePoolId: state.storagePoolId,
    createTime: state.clock.now(),
    limits: {},
    ...(domainId !== undefined && { domainId }),
  })
}

function volumeOf({ state, path }: Call): { row: VmRow; volume: VolumeRow } {
  const row = state.vm(path['domainId'] as string)
  const volume = state.volumes.get(path['volumeId'] as string)
  if (volume?.domainId !== row.id) throw refuse('noSuch', `"${row.name}" has no disk ${path['volumeId']}`)
  return { row, volume }
}

function assertStoragePool(state: PlatformState, id: string | undefined): void {
  if (id !== undefined && id !== state.storagePoolId) throw refuse('noSuch', `there is no storage pool ${id}`)
}

function assertOff(row: VmRow): void {
  if (row.status !== VM_STATUS.off) throw refuse('wrongState', `"${row.name}" must be off to change its disks`)
}

/** Changes the disks of a VM that is off: its hosts cannot do it while it runs. */
async function changeDisks(state: PlatformState, row: VmRow, operation: string, change: () => void, undo: () => void) {
  assertOff(row)
  await state.machines.doNow(operation, row, VM_STATUS.off, async (signal) => {
    change()
    try {
      await state.world.change(state.machines.worldVm(row), { signal })
    } catch (error) {
      undo()
      throw error
    }
  })
}

const volumeView = ({ limits, ...row }: VolumeRow): ValueOf<typeof VOLUME_VO> => ({
  ...row,
  ...limits,
  isStartDisk: 0,
  isRecycle: 0,
})

const poolVolumeView = (state: PlatformState, row: VolumeRow): ValueOf<typeof POOL_VOLUME_VO> => ({
  id: row.id,
  name: row.name,
  size: row.size,
  busType: row.busType,
  domainId: row.domainId,
  domainName: row.domainId === undefined ? undefined : state.vms.get(row.domainId)?.name,
  storagePoolId: row.storagePoolId,
  isModel: 0,
  isStartDisk: 0,
})

export const DISK_OPERATIONS = [
  operation({
    name: 'disk.list',
    method: 'GET',
    path: '/ocloud/v1/domain/{id}/disk',
    envelope: 'R',
    answer: array(VOLUME_VO),
    handle: ({ state, path }) => {
      const { id } = state.vm(path['id'] as string)
      return state.volumes
        .all()
        .filter((volume) => volume.domainId === id)
        .map(volumeView)
    },
  }),
  operation({
    name: 'disk.add',
    method: 'POST',
    path: '/ocloud/v1/domain/{id}/disk',
    body: object('DomainDiskAddDto', { volumeId: string }),
    envelope: 'B',
    async handle({ state, path, body }) {
      const row = state.vm(path['id'] as string)
      const volume = state.volumes.get(body.volumeId ?? '')
      if (!volume) throw refuse('noSuch', `there is no volume ${body.volumeId}`)
      if (volume.domainId !== undefined) throw refuse('wrongState', `volume "${volume.name}" is in use`)
      const set = (domainId: string | undefined) => void state.volumes.change(volume.id, { domainId })
      await changeDisks(
        state,
        row,
        'disk.add',
        () => set(row.id),
        () => set(undefined),
      )
    },
  }),
  operation({
    name: 'disk.addIndependent',
    method: 'POST',
    path: '/ocloud/v1/domain/independent-disk',
    body: object('DomainAddIndependentDiskDto', {
      busType,
      diskSize: int,
      domainIdList: array(string),
      storagePoolId: string,
    }),
    envelope: 'B',
    async handle({ state, body }) {
      assertStoragePool(state, body.storagePoolId)
      const size = body.diskSize
      if (size === undefined) throw refuse('missingField', 'diskSize is missing')
      const rows = idsOf(body.domainIdList).map((id) => state.vm(id))
      for (const row of rows) assertOff(row)
      for (const row of rows) {
        let volume: VolumeRow | undefined
        const wanted = { name: `${row.name}-disk`, size, busType: body.busType ?? 'virtio' }
        const add = () => void (volume = addVolume(state, wanted, row.id))
        const remove = () => void (volume && state.volumes.delete(volume.id))
        await changeDisks(state, row, 'disk.addIndependent', add, remove)
      }
    },
  }),
  operation({
    name: 'disk.expand',
    method: 'POST',
    path: '/ocloud/v1/domain/{domainId}/disk/{volumeId}/expand',
    body: object('DomainDiskExpandDto', { expandSize: int }),
    envelope: 'B',
    async handle(call) {
      const { state, body } = call
      const { row, volume } = volumeOf(call as unknown as Call)
      const before = volume.size
      const size = before + (body.expandSize ?? 0)
      if (size <= before || size > LARGEST_GB) throw refuse('invalidValue', `expandSize is ${body.expandSize} GB`)
      const set = (size: number) => void state.volumes.change(volume.id, { size })
      await changeDisks(
        state,
        row,
        'disk.expand',
        () => set(size),
        () => set(before),
      )
    },
  }),
  operation({
    name: 'disk.speedLimit',
    method: 'PATCH',
    path: '/ocloud/v1/domain/{domainId}/disk/{volumeId}/speed-limit',
    body: object('DomainUpdateDiskSpeedDto', {
      readBytesSec: string,
      readIopsSec: string,
      writeBytesSec: string,
      writeIopsSec: string,
    }),
    envelope: 'B',
    handle() {
      throw refuse('unsupported', 'the hosts do not limit disks')
    },
  }),
  operation({
    name: 'disk.unmount',
    method: 'POST',
    path: '/ocloud/v1/domain/{domainId}/disk/{volumeId}/unmount',
    envelope: 'R',
    answer: object('EventIdVO', { eventId: string }),
    handle(call) {
      const { state } = call
      const { row, volume } = volumeOf(call as unknown as Call)
      assertOff(row)
      const { event } = state.machines.work('unmount', 'disk.unmount', row, VM_STATUS.off, async (signal) => {
        state.volumes.change(volume.id, { domainId: undefined })
        try {
          await state.world.change(state.machines.worldVm(row), { signal })
        } catch (error) {
          state.volumes.change(volume.id, { domainId: row.id })
          throw error
        }
      })
      return { eventId: event.id }
    },
  }),
  operation({
    name: 'disk.delete',
    method: 'DELETE',
    path: '/ocloud/v1/domain/{domainId}/disk/{volumeId}',
    envelope: 'B',
    async handle(call) {
      const { state } = call
      const { row, volume } = volumeOf(call as unknown as Call)
      const set = (domainId: string | undefined) => void state.volumes.change(volume.id, { domainId })
      await changeDisks(
        state,
        row,
        'disk.delete',
        () => set(undefined),
        () => set(row.id),
      )
      state.volumes.delete(volume.id)
    },
  }),
  operation({
    name: 'volume.list',
    method: 'GET',
    path: '/ocloud/v1/storage-volume',
    query: {
      ...PAGE,
      isFree: oneOf(0, 1),
      isStartDisk: oneOf(0, 1),
      keyword: string,
      poolId: string,
      snapshotFree: oneOf(0, 1),
      storagePoolId: string,
    },
    envelope: 'R',
    answer: page(POOL_VOLUME_VO),
    handle(call) {
      const { state, query } = call
      const rows = state.volumes
        .all()
        .filter(
          (volume) =>
            contains(query.keyword, volume.name) &&
            (query.isFree === undefined || (volume.domainId === undefined ? 1 : 0) === query.isFree) &&
            query.isStartDisk !== 1 &&
            (query.storagePoolId === undefined || volume.storagePoolId === query.storagePoolId),
        )
      return pageOf(call, rows, (row) => poolVolumeView(state, row))
    },
  }),
  operation({
    name: 'volume.create',
    method: 'POST',
    path: '/ocloud/v1/storage-volume',
    body: object('StorageVolumeCreateDto', {
      busType: required(busType),
      name: required(string),
      size: required(int),
      storagePoolId: required(string),
    }),
    envelope: 'R',
    answer: object('StorageVolumeCreateVO', { id: string }),
    handle({ state, body }) {
      assertStoragePool(state, body.storagePoolId)
      const { name, size, busType } = body
      return { id: addVolume(state, { name, size, busType }).id }
    },
  }),
  operation({
    name: 'volume.delete',
    method: 'DELETE',
    path: '/ocloud/v1/storage-volume/{volumeId}',
    envelope: 'B',
    handle({ state, path }) {
      const volume = state.volumes.get(path['volumeId'] as string)
      if (!volume) throw refuse('noSuch', `there is no volume ${path['volumeId']}`)
      if (volume.domainId !== undefined) throw refuse('wrongState', `volume "${volume.name}" is in use`)
      state.volumes.delete(volume.id)
    },
  }),
]

const RECYCLE_VO = object('RecycleDomainVO', DOMAIN_VO.fields)
const ID_LIST = object('BatchIdListDto', { idList: array(string) })

function recycled(state: PlatformState, id: string): VmRow {
  const row = state.vms.get(id)
  if (row?.isRecycle === 1) return row
  throw refuse('noSuch', `there is no VM ${id} in the recycle bin`)
}

export const RECYCLE_OPERATIONS = [
  operation({
    name: 'recycle.list',
    method: 'GET',
    path: '/ocloud/v1/recycle',
    query: PAGE,
    envelope: 'R',
    answer: page(RECYCLE_VO),
    handle(call) {
      const rows = call.state.vms.all().filter((row) => row.isRecycle === 1)
      return pageOf(call, rows, (row) => domainView(call.state, row))
    },
  }),
  operation({
    name: 'recycle.delete',
    method: 'POST',
    path: '/ocloud/v1/recycle/delete',
    body: ID_LIST,
    envelope: 'B',
    async handle({ state, body }) {
      const rows = idsOf(body.idList).map((id) => recycled(state, id))
      await Promise.all(rows.map((row) => state.machines.remove(row)))
    },
  }),
  operation({
    name: 'recycle.restore',
    method: 'POST',
    path: '/ocloud/v1/recycle/restore',
    body: ID_LIST,
    envelope: 'B',
    handle({ state, body }) {
      const rows = idsOf(body.idList).map((id) => recycled(state, id))
      for (const row of rows) state.vms.change(row.id, { isRecycle: 0 })
    },
  }),
]
