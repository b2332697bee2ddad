import { operation } from '../operation.ts'
import { body, bool, each, type Infer, int, listOf, oneOf, pageOf, record, someOf, text, wireTime } from '../schema.ts'

/** Fields that VMs have in every answer that shows one. `memory` is in MB, `cpu` counts virtual CPUs. */
export const vmFields = {
  ...each(text, 'adminId', 'adminName', 'affinityIp', 'agentVersion', 'bootloader', 'cloneType', 'command'),
  ...each(text, 'desktopPoolId', 'gpuType', 'hostId', 'isoPath', 'lastSuccessfulHostId', 'mainboard', 'motherId'),
  ...each(text, 'originalIp', 'originalMac', 'osEdition', 'osName', 'osType', 'poolId', 'remark', 'soundcardType'),
  ...each(text, 'systemType', 'userId', 'vgpuType', 'vmcId', 'workingGroup'),
  ...each(int, 'allowMonitor', 'autoJoinDomain', 'cores', 'cpu', 'disableAlpha', 'domainFake', 'freeze'),
  ...each(int, 'graphicsCardNum', 'hostBiosEnable', 'hostModelEnable', 'independDiskCnt', 'isCloneDomain'),
  ...each(int, 'isConnected', 'isModel', 'isRecycle', 'keepAlive', 'memory', 'nestedVirtual', 'sockets', 'threads'),
  ...each(wireTime, 'connectTime', 'createTime', 'disconnectTime', 'lastFreezeTime', 'updateTime'),
}

/** Fields that administrators see of a VM, and cannot do without. */
export const domainFields = { id: text, name: text, status: int }
/** The other fields that administrators see of a VM. */
export const shownFields = {
  ...vmFields,
  ...each(text, 'hostName', 'ip', 'motherName', 'mouseMode', 'poolName', 'syncTemplate'),
  ...each(int, 'childCount', 'hasSnapshot'),
  ...each(bool, 'hideId', 'isInner'),
}

/** A VM. `ip` is that of its host; `status` is in `VM_STATUS`. */
export const DomainVO = record(domainFields, shownFields)
/** A VM. */
export type DomainVO = Infer<typeof DomainVO>

const IsoDto = body({}, each(text, 'isoPath', 'storagePoolId'))
const NetworkDto = body(
  {},
  {
    ...each(int, 'inAverage', 'inBurst', 'inPeak', 'outAverage', 'outBurst', 'outPeak'),
    ...each(text, 'ovsId', 'vlanId'),
  },
)
const VolumeDto = body(
  {},
  {
    ...each(text, 'busType', 'id', 'readBytesSec', 'readIopsSec', 'writeBytesSec', 'writeIopsSec'),
    isStartDisk: int,
  },
)
/** A VM to make. `memory` is in MB. */
export const DomainCreateDto = body(
  {
    ...each(int, 'autoJoinDomain', 'cores', 'graphicsCardNum', 'sockets', 'threads'),
    ...each(text, 'bootloader', 'mainBoard', 'vgpuType'),
  },
  {
    ...each(int, 'cpu', 'memory'),
    ...each(text, 'gpuType', 'name', 'osType', 'poolId', 'remark', 'soundcardType', 'vmcId'),
    isoList: listOf(IsoDto),
    networkList: listOf(NetworkDto),
    volumeList: listOf(VolumeDto),
  },
)
/** A VM to make. */
export type DomainCreateDto = Infer<typeof DomainCreateDto>
const DomainCreateVO = record({ uuid: text })

/** Changes of a VM; what is missing stays. The platform wants the name even if it stays. `memory` is in MB. */
export const DomainUpdateDto = body(
  { name: text },
  {
    ...each(int, 'autoJoinDomain', 'cores', 'cpu', 'disableAlpha', 'domainFake', 'graphicsCardNum', 'hostBiosEnable'),
    ...each(int, 'hostModelEnable', 'keepAlive', 'memory', 'mouseMode', 'nestedVirtual', 'threads'),
    ...each(text, 'command', 'gpuType', 'osType', 'remark', 'soundcardType', 'vgpuType'),
  },
)
/** Changes of a VM. */
export type DomainUpdateDto = Infer<typeof DomainUpdateDto>

const DomainBatchTaskDto = body({ idList: someOf(text) }, { hostId: text, isForce: oneOf(0, 1) })
const ErrorInfo = record({}, { ...each(text, 'domainId', 'domainName', 'errorMsg'), status: int })
const DomainBatchTaskVO = record({}, { errorList: listOf(ErrorInfo), eventIdList: listOf(text) })
/** Per-VM failures and events of a batch verb. */
export type DomainBatchTaskVO = Infer<typeof DomainBatchTaskVO>

const DomainCloneDto = body({}, { name: text, storagePoolId: text, templateClone: oneOf(0, 1), number: int })
/** A clone to make; `storagePoolId` is needed for clones of templates. */
export type DomainCloneDto = Infer<typeof DomainCloneDto>

const DomainNetcardVO = record(
  {},
  {
    ...each(text, 'actualIp', 'assignIp', 'cascadId', 'dhcp', 'dns1', 'dns2', 'domainId', 'domainName', 'gateway'),
    ...each(text, 'id', 'inAverage', 'inBurst', 'inFloor', 'inPeak', 'mac', 'netmask', 'outAverage', 'outBurst'),
    ...each(text, 'outPeak', 'ovsId', 'ovsName', 'remark', 'vlanDns1', 'vlanDns2', 'vlanGateway', 'vlanId'),
    ...each(text, 'vlanMask', 'vlanMode', 'vlanName', 'vlanValue'),
    isRecycle: int,
    ...each(wireTime, 'createTime', 'reportTime'),
  },
)
/** A network card of a VM. `actualIp` is the guest's address. */
export type DomainNetcardVO = Infer<typeof DomainNetcardVO>

const batch = <const Name extends string>(verb: Name) =>
  operation({
    name: `domains.${verb}`,
    method: 'POST',
    path: `/ocloud/v1/domain/${verb}`,
    body: DomainBatchTaskDto,
    answer: DomainBatchTaskVO,
  })
/** The batch verbs: each takes several VMs, and answers events and failures of its VMs. */
export const verbs = {
  start: batch('start'),
  close: batch('close'),
  reboot: batch('reboot'),
  suspend: batch('suspend'),
  resume: batch('resume'),
  sleep: batch('sleep'),
  wakeup: batch('wakeup'),
}

const DomainQuery = body(
  {},
  {
    ...each(text, 'agentVersion', 'freeze', 'hostId', 'keyword', 'motherId', 'osType', 'poolId', 'status'),
    osTypeOrder: oneOf('asc', 'desc'),
    ...each(oneOf(0, 1), 'isBindUser', 'isConnected'),
    ...each(int, 'pageNum', 'pageSize'),
  },
)

/** Operations of VMs. */
export const domains = {
  ...verbs,
  list: operation({
    name: 'domains.list',
    method: 'GET',
    path: '/ocloud/v1/domain',
    query: DomainQuery,
    answer: pageOf(DomainVO),
  }),
  get: operation({ name: 'domains.get', method: 'GET', path: '/ocloud/v1/domain/{id}', answer: DomainVO }),
  create: operation({
    name: 'domains.create',
    method: 'POST',
    path: '/ocloud/v1/domain',
    body: DomainCreateDto,
    answer: DomainCreateVO,
  }),
  update: operation({
    name: 'domains.update',
    method: 'PATCH',
    path: '/ocloud/v1/domain/{id}',
    body: DomainUpdateDto,
    idempotent: true,
  }),
  delete: operation({
    name: 'domains.delete',
    method: 'POST',
    path: '/ocloud/v1/domain/delete',
    body: body({ isRecycle: oneOf(0, 1), domainIdList: someOf(text) }),
  }),
  freeze: operation({
    name: 'domains.freeze',
    method: 'POST',
    path: '/ocloud/v1/domain/freeze',
    body: body({ freezeType: oneOf(1, 2, 3, 4), idList: someOf(text) }),
    answer: listOf(text),
  }),
  restore: operation({
    name: 'domains.restore',
    method: 'POST',
    path: '/ocloud/v1/domain/restore',
    body: DomainBatchTaskDto,
  }),
  rebase: operation({
    name: 'domains.rebase',
    method: 'POST',
    path: '/ocloud/v1/domain/rebase',
    body: DomainBatchTaskDto,
  }),
  bindUser: operation({
    name: 'domains.bindUser',
    method: 'POST',
    path: '/ocloud/v1/domain/bind-user',
    body: body({ userId: text, domainIdList: someOf(text) }),
    answer: record({}, { notBindDomainIdList: listOf(text) }),
  }),
  unbindUser: operation({
    name: 'domains.unbindUser',
    method: 'POST',
    path: '/ocloud/v1/domain/unbind-user',
    body: body({ domainIdList: someOf(text) }),
  }),
  setCpuMemory: operation({
    name: 'domains.setCpuMemory',
    method: 'PATCH',
    path: '/ocloud/v1/domain/mem-cpu',
    body: body({ listId: someOf(text) }, each(int, 'cpu', 'memory')),
    idempotent: true,
  }),
  clone: operation({
    name: 'domains.clone',
    method: 'POST',
    path: '/ocloud/v1/domain/{id}/clone',
    body: DomainCloneDto,
    answer: record({ cloneUuid: text, eventId: text }),
  }),
  toModel: operation({ name: 'domains.toModel', method: 'POST', path: '/ocloud/v1/domain/{id}/to-model' }),
  syncStatus: operation({
    name: 'domains.syncStatus',
    method: 'POST',
    path: '/ocloud/v1/domain/{id}/sync-status',
    body: body({}, { syncType: oneOf(0, 1) }),
    idempotent: true,
  }),
  children: operation({
    name: 'domains.children',
    method: 'GET',
    path: '/ocloud/v1/domain/{id}/child',
    answer: listOf(DomainVO),
  }),
  nics: operation({
    name: 'domains.nics',
    method: 'GET',
    path: '/ocloud/v1/domain/{id}/nic',
    answer: listOf(DomainNetcardVO),
  }),
}
