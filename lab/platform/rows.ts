/** What the database holds. Times are milliseconds since the epoch; other names and units are the platform's own. */

export const VM_STATUS = { off: 0, running: 1, suspended: 2, asleep: 3, busy: 5 } as const
export type VmStatus = (typeof VM_STATUS)[keyof typeof VM_STATUS]
export const POOL_STATUS = { idle: 0, switching: 1, archived: 2 } as const
export const HOST_STATUS = { maintenance: 0, enabled: 1, closed: 2, offline: 3 } as const

export interface VmRow {
  id: string
  name: string
  status: VmStatus
  /** VM or template. */
  isModel: 0 | 1
  isRecycle: 0 | 1
  hostId: string
  /** The world's profile. Not the platform's. */
  profile: string
  /** libvirt's name. Not the platform's. */
  libvirtName: string
  /** Of the consoles, while the VM is on. Not the platform's. */
  ticket?: string
  cpu: number
  cores: number
  sockets: number
  threads: number
  /** MB */
  memory: number
  createTime: number
  updateTime: number
  desktopPoolId?: string
  motherId?: string
  userId?: string
  /** `0` full, `1` linked. */
  cloneType?: '0' | '1'
  freezeType: number
  lastFreezeTime?: number
  lastSuccessfulHostId?: string
  osType: string
  bootloader: string
  mainboard: string
  vgpuType: string
  graphicsCardNum: number
  autoJoinDomain: number
  poolId: string
  /** The remaining settings of `DomainUpdateDto` that were made. */
  settings: Record<string, string | number>
  serials: SerialRow[]
}

export interface SerialRow {
  id: number
  serialModel: number
  sourcePort?: string
  targetPort?: string
  targetServer?: string
}

export interface VolumeRow {
  id: string
  name: string
  filename: string
  /** GB */
  size: number
  busType: string
  storagePoolId: string
  domainId?: string
  createTime: number
  limits: Record<string, string>
}

export interface SnapshotRow {
  id: string
  domainId: string
  name: string
  createTime: number
  domainStatus: number
  domainXml: string
}

export interface PoolRow {
  id: string
  name: string
  type: number
  amount: number
  modelId?: string
  curModelId?: string
  domainPrefix?: string
  classNo?: string
  forceFreeze?: number
  remark?: string
  enabled: 0 | 1
  status: number
  groupNameList: string[]
}

export interface HostRow {
  id: string
  name: string
  ip: string
  status: number
  createTime: number
  domainLimit: number
  poolId?: string
  extranetIp?: string
  extranetIpV6?: string
}

export interface EventRow {
  id: string
  domainId: string
  domainName: string
  hostId?: string
  ip?: string
  eventType: number
  operateType: number
  description: string
  createTime: number
  updateTime: number
  /** Undefined while the work goes on. */
  success?: boolean
  errorReason?: string
}

export interface UserRow {
  /** `sAMAccountName` */
  id: string
  sn?: string
  givenName?: string
  mail?: string
  mobile?: string
  idNumber?: string
  cn?: string
  /** Distinguished name of the organisational unit. */
  group: string
  /** MD5, as it comes over the wire. */
  password: string
  lastLoginTime?: number
}

export interface GroupRow {
  /** Distinguished name: `ou=a,ou=b`. */
  id: string
  ou: string
  parent?: string
}

export interface UsbRow {
  id: string
  hostId: string
  usbName: string
  vendor: string
  vendorId: string
  product: string
  productId: string
  memo2: '0' | '1'
  own?: string
}

export interface SettingRow {
  id: string
  value: string
}
