import { accessSync, constants, statfsSync } from 'node:fs'
import { dirname } from 'node:path'
import { loadConfig, type ResolvedConfig } from '../config/index.ts'
import { isAtpError, messageOf, packageVersion } from '../core/index.ts'
import { HostConnection } from '../hosts/index.ts'
import { hostInfoOf, uriOf } from '../runner/configured-hosts.ts'
import { EXIT } from '../runner/exit-code.ts'
import { labPaths, labStatus } from '../../lab/index.ts'

interface Finding {
  /** `bad` keeps specs from running; `warn` makes them slower or less telling. */
  state: 'ok' | 'warn' | 'bad'
  what: string
  detail: string
  remedy?: string
}

const HOST_TIMEOUT_MS = 10_000
const DISK_NEED_BYTES = 2 * 2 ** 30

/** What `atp doctor` does. */
export async function examine(options: { config?: string; json?: boolean }): Promise<void> {
  const config = await loadConfig(process.cwd(), options.config)
  const findings: Finding[] = [
    { state: 'ok', what: 'ATP', detail: `${packageVersion()} on Node ${process.versions.node}` },
    { state: 'ok', what: 'configuration', detail: config.file ?? 'none: the defaults apply' },
    ...(config.lab === undefined ? [] : await examineLab()),
    ...(await Promise.all(config.hosts.map(examineHost))),
  ]
  if (options.json) process.stdout.write(`${JSON.stringify(findings)}\n`)
  else process.stdout.write(findings.map(describe).join(''))
  if (findings.some((finding) => finding.state === 'bad')) process.exitCode = EXIT.infrastructure
}

async function examineLab(): Promise<Finding[]> {
  let status: Awaited<ReturnType<typeof labStatus>>
  try {
    status = await labStatus({ timeoutMs: HOST_TIMEOUT_MS })
  } catch (error) {
    return [{ state: 'bad', what: 'lab', detail: messageOf(error) }]
  }
  const { missingPackages, versions, kvm, image, hosts } = status
  const up = hosts.filter((host) => host.pid !== undefined).length
  return [
    missingPackages.length === 0
      ? { state: 'ok', what: 'lab: Debian packages', detail: 'all installed' }
      : {
          state: 'bad',
          what: 'lab: Debian packages',
          detail: `missing ${missingPackages.join(', ')}`,
          remedy: 'npx atp lab install',
        },
    ...(versions
      ? [{ state: 'ok', what: 'lab: hypervisor', detail: Object.values(versions).join(', ') } as Finding]
      : []),
    kvm === undefined
      ? { state: 'ok', what: 'lab: speed', detail: 'KVM is tried when the lab first starts' }
      : kvm.works
        ? { state: 'ok', what: 'lab: speed', detail: 'KVM' }
        : { state: 'warn', what: 'lab: speed', detail: `software emulation, several times slower: ${kvm.reason}` },
    examineDisk(status.home),
    { state: 'ok', what: 'lab: image', detail: image?.id ?? 'built when the lab first starts' },
    { state: 'ok', what: 'lab: hosts', detail: up > 0 ? `${up} up` : 'down; "atp test" starts them' },
  ]
}

function examineDisk(home: string): Finding {
  const what = 'lab: disk'
  // The nearest folder that exists tells for those still to be made.
  for (let folder = home; ; folder = dirname(folder)) {
    try {
      accessSync(folder, constants.F_OK)
    } catch {
      continue
    }
    const { bavail, bsize } = statfsSync(folder)
    const detail = `${(Number(bavail * bsize) / 2 ** 30).toFixed(1)} GiB free for ${labPaths().home}`
    return Number(bavail * bsize) >= DISK_NEED_BYTES
      ? { state: 'ok', what, detail }
      : { state: 'bad', what, detail, remedy: 'free 2 GiB, or set ATP_HOME to a folder on another disk' }
  }
}

async function examineHost(host: ResolvedConfig['hosts'][number]): Promise<Finding> {
  const what = `host ${host.id}`
  const started = performance.now()
  let connection: HostConnection | undefined
  try {
    connection = await HostConnection.open(hostInfoOf(host), { timeoutMs: HOST_TIMEOUT_MS })
    const client = await connection.client('control')
    const [name, version, domains] = [await client.hostname(), await client.libVersion(), await client.listDomains()]
    const libvirt = `${Math.floor(version / 1e6)}.${Math.floor(version / 1e3) % 1e3}.${version % 1e3}`
    const ms = Math.round(performance.now() - started)
    return {
      state: 'ok',
      what,
      detail: `${name}, libvirt ${libvirt}, ${domains.length} VMs, answered in ${ms} ms (${uriOf(host)})`,
    }
  } catch (error) {
    const remedy = isAtpError(error) ? error.remedy : undefined
    return { state: 'bad', what, detail: messageOf(error).replace(/\n\s*→.*/s, ''), ...(remedy ? { remedy } : {}) }
  } finally {
    await connection?.close()
  }
}

function describe({ state, what, detail, remedy }: Finding): string {
  return `${state.padEnd(5)} ${what}: ${detail}\n${remedy ? `      → ${remedy}\n` : ''}`
}
