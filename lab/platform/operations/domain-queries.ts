import { DOMAIN_VO, domainView, isRunning, RESOURCE_POOL_NAME } from '../domain-view.ts'
import { contains, listed, operation, pageOf } from '../operation.ts'
import { refuse } from '../refusal.ts'
import type { VmRow } from '../rows.ts'
import { array, int, object, oneOf, page, PAGE, string } from '../schema.ts'

function ticketOf(row: VmRow): string {
  if (isRunning(row) && row.ticket !== undefined) return row.ticket
  throw refuse('wrongState', `"${row.name}" is not on and has no console`)
}

const LIST_QUERY = {
  ...PAGE,
  agentVersion: string,
  freeze: string,
  hostId: string,
  isBindUser: oneOf(0, 1),
  isConnected: oneOf(0, 1),
  keyword: string,
  motherId: string,
  osType: string,
  osTypeOrder: oneOf('asc', 'desc'),
  poolId: string,
  status: string,
} as const

export const DOMAIN_QUERY_OPERATIONS = [
  operation({
    name: 'domain.list',
    method: 'GET',
    path: '/ocloud/v1/domain',
    query: LIST_QUERY,
    envelope: 'R',
    answer: page(DOMAIN_VO),
    handle(call) {
      const { state, query } = call
      const rows = state
        .domains()
        .filter(
          (row) =>
            contains(query.keyword, row.name) &&
            listed(query.status, row.status) &&
            listed(query.osType, row.osType) &&
            listed(query.freeze, row.freezeType) &&
            listed(query.agentVersion, undefined) &&
            (query.hostId === undefined || row.hostId === query.hostId) &&
            (query.motherId === undefined || row.motherId === query.motherId) &&
            (query.poolId === undefined || row.poolId === query.poolId) &&
            (query.isBindUser === undefined || (row.userId === undefined ? 0 : 1) === query.isBindUser) &&
            (query.isConnected === undefined || query.isConnected === 0),
        )
      if (query.osTypeOrder !== undefined) {
        const sign = query.osTypeOrder === 'asc' ? 1 : -1
        rows.sort((a, b) => sign * a.osType.localeCompare(b.osType))
      }
      return pageOf(call, rows, (row) => domainView(state, row))
    },
  }),
  operation({
    name: 'domain.get',
    method: 'GET',
    path: '/ocloud/v1/domain/{id}',
    envelope: 'R',
    answer: DOMAIN_VO,
    handle: ({ state, path }) => domainView(state, state.vm(path['id'] as string)),
  }),
  operation({
    name: 'domain.children',
    method: 'GET',
    path: '/ocloud/v1/domain/{id}/child',
    envelope: 'R',
    answer: array(DOMAIN_VO),
    handle: ({ state, path }) =>
      state
        .domains()
        .filter((row) => row.motherId === path['id'])
        .map((row) => domainView(state, row)),
  }),
  operation({
    name: 'domain.port',
    method: 'GET',
    path: '/ocloud/v1/domain/{id}/port',
    envelope: 'R',
    answer: array(object('DomainPortVO', { type: string, value: int })),
    async handle({ state, path, signal }) {
      const row = state.vm(path['id'] as string)
      if (!isRunning(row)) return []
      const consoles = await state.world.consoles(state.machines.worldVm(row), { signal })
      return consoles.map(({ type, port }) => ({ type, value: port }))
    },
  }),
  operation({
    name: 'domain.spiceKey',
    method: 'GET',
    path: '/ocloud/v1/domain/{id}/spice-key',
    envelope: 'R',
    answer: object('SpiceKeyVO', {
      domainId: string,
      hostId: string,
      ip: string,
      key: string,
      name: string,
      port: string,
    }),
    async handle({ state, path, signal }) {
      const row = state.vm(path['id'] as string)
      const ticket = ticketOf(row)
      const consoles = await state.world.consoles(state.machines.worldVm(row), { signal })
      const spice = consoles.find(({ type }) => type === 'spice')
      if (!spice) throw refuse('unsupported', `"${row.name}" has no SPICE console`)
      const key = state.behaviour.spiceKey === 'base64' ? Buffer.from(ticket, 'utf8').toString('base64') : ticket
      const { ip } = state.host(row.hostId)
      return { domainId: row.id, hostId: row.hostId, ip, key, name: row.name, port: String(spice.port) }
    },
  }),
  operation({
    name: 'domain.vncPassword',
    method: 'GET',
    path: '/ocloud/v1/domain/{id}/vnc-password',
    query: { sharePassword: string },
    envelope: 'R',
    answer: object('DomainGetVncPasswordVO', { password: string }),
    handle: ({ state, path }) => ({ password: ticketOf(state.vm(path['id'] as string)) }),
  }),
  operation({
    name: 'domain.xml',
    method: 'GET',
    path: '/ocloud/v1/domain/{id}/xml',
    envelope: 'R',
    answer: string,
    handle: ({ state, path, signal }) =>
      state.world.xml(state.machines.worldVm(state.vm(path['id'] as string)), { signal }),
  }),
  operation({
    name: 'domain.syncStatus',
    method: 'POST',
    path: '/ocloud/v1/domain/{id}/sync-status',
    body: object('DomainSyncStatusDto', { syncType: oneOf(0, 1) }),
    envelope: 'B',
    handle: ({ state, path }) => state.machines.sync(state.vm(path['id'] as string)),
  }),
  operation({
    name: 'domain.commonStoragePool',
    method: 'GET',
    path: '/ocloud/v1/domain/common-storage-pool',
    query: { idList: array(string) },
    envelope: 'R',
    answer: array(
      object('StoragePoolVO', {
        id: string,
        name: string,
        poolId: string,
        poolName: string,
        poolType: string,
        status: int,
      }),
    ),
    handle({ state, query }) {
      for (const id of query.idList ?? []) state.vm(id)
      const { storagePoolId: id, resourcePoolId: poolId } = state
      return [{ id, name: 'lab-disks', poolId, poolName: RESOURCE_POOL_NAME, poolType: 'dir', status: 1 }]
    },
  }),
  operation({
    name: 'domain.nics',
    method: 'GET',
    path: '/ocloud/v1/domain/{id}/nic',
    envelope: 'R',
    answer: array(object('DomainNetcardVO', { id: string, domainId: string, mac: string, actualIp: string })),
    handle({ state, path }) {
      // The lab's machines have no network.
      state.vm(path['id'] as string)
      return []
    },
  }),
  operation({
    name: 'dashboard.domainNumber',
    method: 'GET',
    path: '/ocloud/v1/panel/domain-number',
    envelope: 'R',
    answer: object('PanelPoolDomainNumberVO', { close: int, doing: int, dormancy: int, running: int, suspend: int }),
    handle({ state }) {
      const count = (status: number) => state.domains().filter((row) => row.status === status).length
      return { close: count(0), running: count(1), suspend: count(2), dormancy: count(3), doing: count(5) }
    },
  }),
]
