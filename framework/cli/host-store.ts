/** What `atp host add`, `list` and `remove` do. */
import { dirname, relative, resolve } from 'node:path'
import { addHost, removeHost } from '../config/edit-hosts-file.ts'
import { loadConfig, type HostConfig, type ResolvedConfig } from '../config/index.ts'
import { resolveHost } from '../config/resolve-host.ts'
import { configError } from '../core/index.ts'
import { checkHosts, uriOf } from '../runner/configured-hosts.ts'
import { EXIT } from '../runner/exit-code.ts'
import { checkHost } from './host-check/check-host.ts'
import { printReport } from './host-check-action.ts'
import { allHosts, configuredHost } from './known-hosts.ts'
import { textTable } from './text-table.ts'

interface AddOptions {
  config?: string
  host?: string
  uri?: string
  capacity?: number
  label?: string[]
  tlsCa?: string
  tlsCert?: string
  tlsKey?: string
  check?: boolean
}

/** Stores a host. A bad URI, a taken id and, with `check`, a host on which something is bad are not stored. */
export async function add(id: string, options: AddOptions): Promise<void> {
  if (options.host === undefined && options.uri === undefined) {
    throw configError('ATP_USAGE', `"atp host add ${id}" names no address`, {
      remedy: 'pass --host 192.168.1.10 (by ssh) or --uri qemu+tls://kvm-1.example/system',
    })
  }
  const config = await loadConfig(process.cwd(), options.config)
  const taken = config.hosts.find((host) => host.id === id)
  if (taken) {
    throw configError('ATP_CONFIG_INVALID', `the id "${id}" is taken by ${taken.place}`, {
      remedy: `choose another, or "npx atp host remove ${id}" first`,
    })
  }
  const host = fromOptions(id, options, config.hostsFile)
  const resolved = resolveHost(host, { file: config.hostsFile, text: '"atp host add"' }, {})
  checkHosts({ ...config, hosts: [resolved] })
  if (options.check) {
    const report = await checkHost({ ...configuredHost(resolved), origin: 'atp host add' })
    process.stdout.write(printReport(report))
    if (report.state === 'bad') {
      process.stderr.write(`atp: "${id}" was not stored: mend what is bad, or leave --check out\n`)
      process.exitCode = EXIT.infrastructure
      return
    }
  }
  addHost(config.hostsFile, host)
  process.stdout.write(`stored ${id} (${uriOf(resolved)}) in ${shown(config.hostsFile)}\n`)
}

function fromOptions(id: string, options: AddOptions, hostsFile: string): HostConfig {
  // What the user typed starts at the present folder, what the file says starts at the file.
  const file = (path: string) => (path.startsWith('/') ? path : relative(dirname(hostsFile), resolve(path)))
  const { host, uri, capacity, label, tlsCa, tlsCert, tlsKey } = options
  const tls = {
    ...(tlsCa && { ca: file(tlsCa) }),
    ...(tlsCert && { cert: file(tlsCert) }),
    ...(tlsKey && { key: file(tlsKey) }),
  }
  return {
    id,
    ...(host !== undefined && { host }),
    ...(uri !== undefined && { uri }),
    ...(capacity !== undefined && { capacity }),
    ...(label && { labels: label }),
    ...(Object.keys(tls).length > 0 && { tls }),
  }
}

/** Removes a host from the hosts file. */
export async function remove(id: string, options: { config?: string }): Promise<void> {
  const config = await loadConfig(process.cwd(), options.config)
  const place = config.hosts.find((host) => host.id === id)?.place
  if (place !== undefined && !place.startsWith(`${config.hostsFile}:`)) {
    throw configError('ATP_USAGE', `the host "${id}" is not in the hosts file but in ${place}`, {
      remedy: 'remove it there by hand',
    })
  }
  removeHost(config.hostsFile, id)
  process.stdout.write(`removed ${id} from ${shown(config.hostsFile)}\n`)
}

/** Prints all hosts. */
export async function list(options: { config?: string; json?: boolean }): Promise<void> {
  const config = await loadConfig(process.cwd(), options.config)
  const hosts = await allHosts(config)
  if (options.json) {
    const rows = hosts.map(({ id, uri, capacity, labels, origin, up }) => ({ id, uri, capacity, labels, origin, up }))
    process.stdout.write(`${JSON.stringify(rows)}\n`)
    return
  }
  process.stdout.write(hosts.length === 0 ? none(config) : table(hosts))
}

function none({ hostsFile }: ResolvedConfig): string {
  return `no hosts; "npx atp host add kvm-1 --host ADDRESS" stores one in ${shown(hostsFile)}\n`
}

function table(hosts: Awaited<ReturnType<typeof allHosts>>): string {
  const rows = hosts.map(({ id, uri, capacity, labels, origin, up }) => [
    id,
    uri,
    capacity === undefined ? '' : String(capacity),
    labels.join(','),
    up === undefined ? shown(origin) : `${origin}, ${up ? 'up' : 'down'}`,
  ])
  return textTable(['ID', 'URI', 'CAPACITY', 'LABELS', 'FROM'], rows)
}

function shown(place: string): string {
  return place.startsWith(`${process.cwd()}/`) ? place.slice(process.cwd().length + 1) : place
}
