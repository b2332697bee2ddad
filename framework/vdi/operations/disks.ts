import { operation } from '../operation.ts'
import { body, each, type Infer, int, listOf, oneOf, pageOf, record, someOf, text, wireTime } from '../schema.ts'

const StorageVolumeVO = record(
  { id: text },
  {
    ...each(text, 'busType', 'domainId', 'domains', 'filename', 'hostId', 'key', 'name', 'poolName', 'poolPath'),
    ...each(text, 'poolType', 'readBytesSec', 'readIopsSec', 'storagePoolId', 'volFullPath', 'writeBytesSec'),
    writeIopsSec: text,
    ...each(int, 'isRecycle', 'isShare', 'isStartDisk', 'size'),
    createTime: wireTime,
  },
)
/** A disk. `size` is in GB. */
export type StorageVolumeVO = Infer<typeof StorageVolumeVO>

const StorageVolumeCreateDto = body({
  ...each(text, 'name', 'storagePoolId'),
  busType: oneOf('virtio', 'scsi', 'ide'),
  size: int,
})
/** A disk to make. `size` is in GB. */
export type StorageVolumeCreateDto = Infer<typeof StorageVolumeCreateDto>

const PoolVolumeVO = record(
  { id: text },
  {
    ...each(text, 'busType', 'domainId', 'domainName', 'domains', 'name', 'poolPath', 'storagePoolId'),
    ...each(int, 'isModel', 'isStartDisk', 'size'),
  },
)
/** A disk of a storage pool, whoever has it. `size` is in GB. */
export type PoolVolumeVO = Infer<typeof PoolVolumeVO>

/** Operations of VMs' disks. */
export const disks = {
  list: operation({
    name: 'disks.list',
    method: 'GET',
    path: '/ocloud/v1/domain/{id}/disk',
    answer: listOf(StorageVolumeVO),
  }),
  volumes: operation({
    name: 'disks.volumes',
    method: 'GET',
    path: '/ocloud/v1/storage-volume',
    query: body(
      {},
      {
        ...each(oneOf(0, 1), 'isFree', 'isStartDisk', 'snapshotFree'),
        ...each(text, 'keyword', 'poolId', 'storagePoolId'),
        ...each(int, 'pageNum', 'pageSize'),
      },
    ),
    answer: pageOf(PoolVolumeVO),
  }),
  deleteVolume: operation({
    name: 'disks.deleteVolume',
    method: 'DELETE',
    path: '/ocloud/v1/storage-volume/{volumeId}',
  }),
  create: operation({
    name: 'disks.create',
    method: 'POST',
    path: '/ocloud/v1/storage-volume',
    body: StorageVolumeCreateDto,
    answer: record({ id: text }),
  }),
  add: operation({
    name: 'disks.add',
    method: 'POST',
    path: '/ocloud/v1/domain/{id}/disk',
    body: body({ volumeId: text }),
  }),
  addIndependent: operation({
    name: 'disks.addIndependent',
    method: 'POST',
    path: '/ocloud/v1/domain/independent-disk',
    body: body(
      { domainIdList: someOf(text), diskSize: int },
      { busType: oneOf('virtio', 'scsi', 'ide'), storagePoolId: text },
    ),
  }),
  expand: operation({
    name: 'disks.expand',
    method: 'POST',
    path: '/ocloud/v1/domain/{domainId}/disk/{volumeId}/expand',
    body: body({ expandSize: int }),
  }),
  unmount: operation({
    name: 'disks.unmount',
    method: 'POST',
    path: '/ocloud/v1/domain/{domainId}/disk/{volumeId}/unmount',
    answer: record({ eventId: text }),
  }),
  delete: operation({
    name: 'disks.delete',
    method: 'DELETE',
    path: '/ocloud/v1/domain/{domainId}/disk/{volumeId}',
  }),
}
