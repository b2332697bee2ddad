import { operation } from '../operation.ts'
import { body, decimal, each, type Infer, int, listOf, long, pageOf, record, text, wireTime } from '../schema.ts'

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
}
