/** What `atp vdi hosts`, `vms` and `pools` do. */
import { messageOf } from '../core/index.ts'
import { type HostRules, reachOf } from '../provision/index.ts'
import { uriWithoutSecrets } from '../protocols/libvirt/index.ts'
import { HOST_STATUS, type HostVO, POOL_STATUS, vmStatusText } from '../vdi/index.ts'
import { textTable } from './text-table.ts'
import { type VdiCommandOptions, withVdi } from './vdi-session.ts'

/** Prints the platform's hosts. */
export function hosts(options: VdiCommandOptions): Promise<void> {
  return withVdi(options, async ({ client, rules }) => {
    const rows = (await client.hosts.listAll()).map((host) => ({
      id: host.id,
      name: host.name,
      ip: host.ip,
      status: numbered(host.status, HOST_STATUS),
      runningVms: host.runningDomainCount ?? null,
      ...reach(host, rules),
    }))
    print(options, rows, ['NAME', 'IP', 'STATUS', 'RUNNING', 'REACHED AS'], (row) => [
      row.name,
      row.ip,
      row.status,
      String(row.runningVms ?? ''),
      row.host === null ? `not: ${row.error}` : `${row.host} (${row.uri})`,
    ])
  })
}

/** Prints the platform's VMs. */
export function vms(options: VdiCommandOptions): Promise<void> {
  return withVdi(options, async ({ client }) => {
    const [all, named, pooled] = await Promise.all([
      client.domains.listAll(),
      client.hosts.listAll(),
      client.deskPools.listAll(),
    ])
    const rows = all.map((vm) => ({
      id: vm.id,
      name: vm.name,
      status: vmStatusText(vm.status, client.assumptions),
      host: named.find(({ id }) => id === vm.hostId)?.name ?? null,
      pool: pooled.find(({ id }) => id === vm.desktopPoolId)?.name ?? null,
      user: vm.userId || null,
    }))
    print(options, rows, ['NAME', 'STATUS', 'HOST', 'POOL', 'USER', 'ID'], (row) => [
      row.name,
      row.status,
      row.host ?? '',
      row.pool ?? '',
      row.user ?? '',
      row.id,
    ])
  })
}

/** Prints the platform's desk pools. */
export function pools(options: VdiCommandOptions): Promise<void> {
  return withVdi(options, async ({ client }) => {
    const rows = (await client.deskPools.listAll()).map((pool) => ({
      id: pool.id,
      name: pool.name,
      status: pool.status == null ? null : numbered(pool.status, POOL_STATUS),
      enabled: pool.enabled == null ? null : pool.enabled === 1,
      desktops: pool.amount ?? null,
      template: pool.curModelName || null,
    }))
    print(options, rows, ['NAME', 'STATUS', 'ENABLED', 'DESKTOPS', 'TEMPLATE', 'ID'], (row) => [
      row.name,
      row.status ?? '',
      row.enabled === null ? '' : row.enabled ? 'yes' : 'no',
      String(row.desktops ?? ''),
      row.template ?? '',
      row.id,
    ])
  })
}

function reach(host: HostVO, rules: HostRules) {
  try {
    const { id, uri } = reachOf(host, rules)
    return { host: id, uri: uriWithoutSecrets(uri), error: null }
  } catch (error) {
    return { host: null, uri: null, error: messageOf(error).replaceAll(/\s*\n\s*/g, ' ') }
  }
}

/** `enabled (1)` */
function numbered(status: number, names: Readonly<Record<string, number>>): string {
  return `${Object.keys(names).find((name) => names[name] === status) ?? 'unknown'} (${status})`
}

function print<T>(
  { json }: VdiCommandOptions,
  rows: readonly T[],
  heading: readonly string[],
  cells: (row: T) => readonly string[],
): void {
  process.stdout.write(json ? `${JSON.stringify(rows)}\n` : textTable(heading, rows.map(cells)))
}
