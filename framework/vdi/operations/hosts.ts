import { operation } from '../operation.ts'
import { body, decimal, each, type Infer, int, listOf, long, oneOf, pageOf, record, text, wireTime } from '../schema.ts'

const hostFields = {
  ...each(text, 'arch', 'cpu', 'extranetIp', 'extranetIpV6', 'ipV6', 'manufacturer', 'model', 'poolId', 'vmcId'),
  ...each(int, 'cpuSize', 'domainLimit'),
  ...each(decimal, 'memory', 'physicalMemory'),
  createTime: wireTime,
}
const known = { ...each(text, 'id', 'ip', 'name'), status: int }
const HostVO = record(known, { ...hostFields, poolName: text, runningDomainCount: long })
/** A hypervisor. `cpu` names it, `cpuSize` counts cores, `memory` is in GB, `status` is in `HOST_STATUS`. */
export type HostVO = Infer<typeof HostVO>
const HostDetailVO = record(known, { ...hostFields, hostNum: int, localIp: text })
/** A hypervisor in detail; see {@link HostVO}. */
export type HostDetailVO = Infer<typeof HostDetailVO>

const HostHardwareVO = record(
  {},
  { ...each(text, 'arch', 'cpu', 'vendor'), ...each(int, 'cores', 'iommu', 'sockets', 'threads', 'virtualization') },
)
/** Hardware of a host. */
export type HostHardwareVO = Infer<typeof HostHardwareVO>

const HostPerformanceVO = record(
  {},
  {
    ...each(long, 'buffers', 'cached', 'free', 'id', 'idle', 'iowait', 'kernel', 'total', 'user'),
    ...each(text, 'hostName', 'uuid'),
    createTime: wireTime,
  },
)
/** One sample of a host's memory and CPU. The units are not documented. */
export type HostPerformanceVO = Infer<typeof HostPerformanceVO>

const HostVersionVO = record({}, each(text, 'agentVersion', 'spiceVersion'))
/** Versions of what runs on a host. */
export type HostVersionVO = Infer<typeof HostVersionVO>

const RunningHostPerformanceVO = record(
  {},
  each(long, 'buffers', 'cached', 'free', 'idle', 'iowait', 'kernel', 'total', 'user'),
)
/** Memory and CPU now, summed over the hosts that are enabled. The units are not documented. */
export type RunningHostPerformanceVO = Infer<typeof RunningHostPerformanceVO>

const filters = each(text, 'arch', 'name', 'poolId', 'status')

/** Operations of hosts. */
export const hosts = {
  list: operation({
    name: 'hosts.list',
    method: 'GET',
    path: '/ocloud/v1/host',
    query: body({}, { ...filters, ...each(int, 'pageNum', 'pageSize') }),
    answer: pageOf(HostVO),
  }),
  get: operation({ name: 'hosts.get', method: 'GET', path: '/ocloud/v1/host/{id}', answer: HostDetailVO }),
  hardware: operation({
    name: 'hosts.hardware',
    method: 'GET',
    path: '/ocloud/v1/host/{id}/hardware',
    answer: HostHardwareVO,
  }),
  uptime: operation({
    name: 'hosts.uptime',
    method: 'GET',
    path: '/ocloud/v1/host/{id}/uptime',
    answer: record({ uptime: decimal }),
  }),
  performance: operation({
    name: 'hosts.performance',
    method: 'GET',
    path: '/ocloud/v1/panel/host/{id}/performance',
    query: body(each(text, 'beginTime', 'endTime')),
    answer: listOf(HostPerformanceVO),
  }),
  performanceOfAll: operation({
    name: 'hosts.performanceOfAll',
    method: 'GET',
    path: '/ocloud/v1/panel/host/performance',
    query: body(each(text, 'beginTime', 'endTime')),
    answer: listOf(HostPerformanceVO),
  }),
  performanceNow: operation({
    name: 'hosts.performanceNow',
    method: 'GET',
    path: '/ocloud/v1/panel/host/running/performance',
    answer: RunningHostPerformanceVO,
  }),
  version: operation({
    name: 'hosts.version',
    method: 'GET',
    path: '/ocloud/v1/host/{id}/version',
    answer: HostVersionVO,
  }),
  setStatus: operation({
    name: 'hosts.setStatus',
    method: 'PATCH',
    path: '/ocloud/v1/host/{id}/status',
    body: body({ status: oneOf(0, 1) }),
    idempotent: true,
  }),
  syncStatus: operation({
    name: 'hosts.syncStatus',
    method: 'POST',
    path: '/ocloud/v1/host/{id}/sync-status',
    idempotent: true,
  }),
  setDomainLimit: operation({
    name: 'hosts.setDomainLimit',
    method: 'PATCH',
    path: '/ocloud/v1/host/{id}/domain-limit',
    body: body({ limit: int }),
    idempotent: true,
  }),
}
