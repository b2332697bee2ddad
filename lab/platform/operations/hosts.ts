import { uptime } from 'node:os'
import { RESOURCE_POOL_NAME } from '../domain-view.ts'
import { machineFacts, type LoadSample } from '../host-load.ts'
import { contains, listed, operation, pageOf } from '../operation.ts'
import { parseTime } from '../present.ts'
import { refuse } from '../refusal.ts'
import { HOST_STATUS, VM_STATUS, type HostRow } from '../rows.ts'
import {
  array,
  datetime,
  decimal,
  int,
  long,
  object,
  oneOf,
  page,
  PAGE,
  required,
  string,
  type ValueOf,
} from '../schema.ts'
import type { PlatformState } from '../state.ts'

const FACTS = {
  arch: string,
  cpu: string,
  cpuSize: int,
  createTime: datetime,
  domainLimit: int,
  extranetIp: string,
  extranetIpV6: string,
  id: string,
  ip: string,
  ipV6: string,
  manufacturer: string,
  memory: decimal,
  model: string,
  name: string,
  physicalMemory: decimal,
  poolId: string,
  status: int,
  vmcId: string,
} as const
const HOST_VO = object('HostVO', { ...FACTS, poolName: string, runningDomainCount: long })
const HOST_DETAIL_VO = object('HostDetailVO', { ...FACTS, hostNum: int, localIp: string })
const PERFORMANCE_VO = object('HostPerformanceVO', {
  buffers: long,
  cached: long,
  createTime: datetime,
  free: long,
  hostName: string,
  id: long,
  idle: long,
  iowait: long,
  kernel: long,
  total: long,
  user: long,
  uuid: string,
})

function factsOf(row: HostRow): ValueOf<ReturnType<typeof object<typeof FACTS>>> {
  const { cpu, cores, memoryGb } = machineFacts()
  return {
    ...row,
    arch: 'x86_64',
    cpu,
    cpuSize: cores,
    memory: memoryGb,
    physicalMemory: memoryGb,
    manufacturer: 'OCloudView ATP lab',
    model: 'stand-in',
  }
}

function hostView(state: PlatformState, row: HostRow): ValueOf<typeof HOST_VO> {
  const running = state.domains().filter((vm) => vm.hostId === row.id && vm.status === VM_STATUS.running)
  const poolName = row.poolId === undefined ? undefined : RESOURCE_POOL_NAME
  return { ...factsOf(row), poolName, runningDomainCount: running.length }
}

function sampleView(state: PlatformState, { hostId, ...figures }: LoadSample): ValueOf<typeof PERFORMANCE_VO> {
  return { ...figures, uuid: hostId, hostName: state.hosts.get(hostId)?.name }
}

function samples(state: PlatformState, range: { beginTime: string; endTime: string }): LoadSample[] {
  const [begin, end] = [range.beginTime, range.endTime].map((text) => {
    const ms = parseTime(text, state.behaviour.timeZone)
    if (ms === undefined) throw refuse('invalidValue', `"${text}" is no time: use yyyy-MM-dd HH:mm:ss or ISO 8601`)
    return ms
  }) as [number, number]
  // The end is meant as a whole second.
  return state.load.between(begin, end + 999)
}

const RANGE = { beginTime: required(string), endTime: required(string) } as const
const FILTER = { arch: string, name: string, poolId: string, status: string } as const

function filtered(state: PlatformState, query: { arch?: string; name?: string; poolId?: string; status?: string }) {
  return state.hosts
    .all()
    .filter(
      (row) =>
        listed(query.arch, 'x86_64') &&
        contains(query.name, row.name) &&
        (query.poolId === undefined || row.poolId === query.poolId) &&
        listed(query.status, row.status),
    )
}

const one = '/ocloud/v1/host/{id}'

export const HOST_OPERATIONS = [
  operation({
    name: 'host.list',
    method: 'GET',
    path: '/ocloud/v1/host',
    query: { ...PAGE, ...FILTER },
    envelope: 'R',
    answer: page(HOST_VO),
    handle: (call) => pageOf(call, filtered(call.state, call.query), (row) => hostView(call.state, row)),
  }),
  operation({
    name: 'host.all',
    method: 'GET',
    path: '/ocloud/v1/host/all',
    query: { ...FILTER, notBindPool: oneOf(0, 1), vmcId: string },
    envelope: 'R',
    answer: array(HOST_VO),
    handle: ({ state, query }) =>
      filtered(state, query)
        .filter((row) => query.notBindPool !== 1 || row.poolId === undefined)
        .map((row) => hostView(state, row)),
  }),
  operation({
    name: 'host.get',
    method: 'GET',
    path: one,
    envelope: 'R',
    answer: HOST_DETAIL_VO,
    handle({ state, path }) {
      const row = state.host(path['id'] as string)
      return { ...factsOf(row), localIp: row.ip, hostNum: state.hosts.size }
    },
  }),
  operation({
    name: 'host.hardware',
    method: 'GET',
    path: `${one}/hardware`,
    envelope: 'R',
    answer: object('HostHardwareVO', {
      arch: string,
      cores: int,
      cpu: string,
      iommu: int,
      sockets: int,
      threads: int,
      vendor: string,
      virtualization: int,
    }),
    handle({ state, path }) {
      state.host(path['id'] as string)
      const { cpu, cores, vendor, virtualisation } = machineFacts()
      const virtualization = virtualisation ? 1 : 0
      return { arch: 'x86_64', cores, cpu, iommu: 0, sockets: 1, threads: 1, vendor, virtualization }
    },
  }),
  operation({
    name: 'host.setStatus',
    method: 'PATCH',
    path: `${one}/status`,
    body: object('HostSetStatusDto', { status: oneOf(0, 1) }),
    envelope: 'B',
    handle({ state, path, body }) {
      const row = state.host(path['id'] as string)
      if (body.status === undefined) throw refuse('missingField', 'status is missing')
      if (row.status === HOST_STATUS.offline) throw refuse('wrongState', `host ${row.name} is offline`)
      state.hosts.change(row.id, { status: body.status })
    },
  }),
  operation({
    name: 'host.syncStatus',
    method: 'POST',
    path: `${one}/sync-status`,
    envelope: 'B',
    async handle({ state, path }) {
      const { id } = state.host(path['id'] as string)
      for (const row of state.domains()) if (row.hostId === id) await state.machines.sync(row)
    },
  }),
  operation({
    name: 'host.domainLimit',
    method: 'PATCH',
    path: `${one}/domain-limit`,
    body: object('HostSetDomainLimitDto', { limit: int }),
    envelope: 'B',
    handle({ state, path, body }) {
      const row = state.host(path['id'] as string)
      if (body.limit === undefined || body.limit < 0) throw refuse('invalidValue', `limit is ${body.limit}`)
      state.hosts.change(row.id, { domainLimit: body.limit })
    },
  }),
  operation({
    name: 'host.uptime',
    method: 'GET',
    path: `${one}/uptime`,
    envelope: 'R',
    answer: object('HostUptimeVO', { uptime: decimal }),
    handle({ state, path }) {
      state.host(path['id'] as string)
      return { uptime: uptime() }
    },
  }),
  operation({
    name: 'host.version',
    method: 'GET',
    path: `${one}/version`,
    envelope: 'R',
    answer: object('HostVersionVO', { agentVersion: string, spiceVersion: string }),
    handle({ state, path }) {
      state.host(path['id'] as string)
      return { agentVersion: 'stand-in' }
    },
  }),
  operation({
    name: 'host.performance',
    method: 'GET',
    path: '/ocloud/v1/panel/host/{id}/performance',
    query: RANGE,
    envelope: 'R',
    answer: array(PERFORMANCE_VO),
    handle({ state, path, query }) {
      const { id } = state.host(path['id'] as string)
      return samples(state, query)
        .filter((sample) => sample.hostId === id)
        .map((sample) => sampleView(state, sample))
    },
  }),
  operation({
    name: 'host.performanceAll',
    method: 'GET',
    path: '/ocloud/v1/panel/host/performance',
    query: RANGE,
    envelope: 'R',
    answer: array(PERFORMANCE_VO),
    handle: ({ state, query }) => samples(state, query).map((sample) => sampleView(state, sample)),
  }),
  operation({
    name: 'host.performanceNow',
    method: 'GET',
    path: '/ocloud/v1/panel/host/running/performance',
    envelope: 'R',
    answer: object('RunningHostPerformanceVO', {
      buffers: long,
      cached: long,
      free: long,
      idle: long,
      iowait: long,
      kernel: long,
      total: long,
      user: long,
    }),
    handle({ state }) {
      const sum = { buffers: 0, cached: 0, free: 0, idle: 0, iowait: 0, kernel: 0, total: 0, user: 0 }
      for (const sample of state.load.take()) {
        if (state.hosts.get(sample.hostId)?.status !== HOST_STATUS.enabled) continue
        for (const name of Object.keys(sum) as (keyof typeof sum)[]) sum[name] += sample[name]
      }
      return sum
    },
  }),
  operation({
    name: 'dashboard.hostNumber',
    method: 'GET',
    path: '/ocloud/v1/panel/host-number',
    envelope: 'R',
    answer: object('PanelPoolHostNumberVO', { close: int, maintain: int, offline: int, running: int }),
    handle({ state }) {
      const count = (status: number) => state.hosts.all().filter((row) => row.status === status).length
      return { maintain: count(0), running: count(1), close: count(2), offline: count(3) }
    },
  }),
]
