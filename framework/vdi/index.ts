export * from './client.ts'
export * from './assumptions.ts'
export * from './statuses.ts'
export { KNOWN_CODES } from './errors.ts'
export type { VdiTls } from './connection.ts'
export type { Validation } from './check.ts'
export type { Pace } from './caller.ts'
export type { WaitOptions } from './until.ts'
export type { BatchOptions, BatchOutcome, VmFailure } from './outcome.ts'
export type { WaitForStatusOptions } from './wait-for-vms.ts'
export type { ReadyPool, WaitForPoolOptions } from './wait-for-pool.ts'
export type { EventVerdict } from './event-watch.ts'
export type { Envelope, Operation } from './operation.ts'
export type { JsonSchema, Page, Schema, WireTime } from './schema.ts'
export { VDI_OPERATIONS } from './operations/index.ts'
export type { DeskPoolFilter, DeskPoolsApi } from './apis/desk-pools.ts'
export { FREEZE_TYPE } from './apis/domains.ts'
export type { DomainFilter, DomainsApi } from './apis/domains.ts'
export type { ConsolePorts, ConsolesApi, SpiceAccess } from './apis/consoles.ts'
export type { DisksApi } from './apis/disks.ts'
export type { RecycleBinApi } from './apis/recycle-bin.ts'
export type { SnapshotsApi } from './apis/snapshots.ts'
export type { EventsApi } from './apis/events.ts'
export type { HostFilter, HostsApi } from './apis/hosts.ts'
export type { ModelsApi } from './apis/models.ts'
export type { EndUserSession, UsersApi } from './apis/users.ts'
export type { UsbPoolsApi } from './apis/usb-pools.ts'
export type { SerialsApi } from './apis/serials.ts'
export type { DomainPortVO } from './operations/consoles.ts'
export type { DeskPoolCreateDto, DesktopPoolVO, DeskPoolUpdateDto } from './operations/desk-pools.ts'
export type { PoolVolumeVO, StorageVolumeCreateDto, StorageVolumeVO } from './operations/disks.ts'
export type {
  DomainCloneDto,
  DomainCreateDto,
  DomainNetcardVO,
  DomainUpdateDto,
  DomainVO,
} from './operations/domains.ts'
export type { EventVO } from './operations/events.ts'
export type {
  HostDetailVO,
  HostHardwareVO,
  HostPerformanceVO,
  HostVersionVO,
  HostVO,
  RunningHostPerformanceVO,
} from './operations/hosts.ts'
export type { ModelCloneDto } from './operations/models.ts'
export type { RecycleDomainVO } from './operations/recycle-bin.ts'
export type { DomainSerialAddDto, DomainSerialDeviceVO, ServerSerialVO } from './operations/serials.ts'
export type { DomainSnapshotVO } from './operations/snapshots.ts'
export type { UsbInfoVO, UsbPassThroughDto, UsbRedirectDto } from './operations/usb-pools.ts'
export type {
  DomainEntity,
  LinkingHost,
  UserCreateParam,
  UserDetailVo,
  UserListVo,
  UserUpdateParam,
} from './operations/users.ts'
