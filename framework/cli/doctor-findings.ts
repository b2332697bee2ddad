import { accessSync, constants, statfsSync } from 'node:fs'
import { dirname } from 'node:path'
import { loadConfig, type ResolvedConfig } from '../config/index.ts'
import { messageOf, packageVersion } from '../core/index.ts'
import { describeOwnShare, measureOwnShare } from '../desktop/index.ts'
import { EXIT } from '../runner/exit-code.ts'
import { labPaths, labStatus } from '../../lab/index.ts'
import { printFinding, type Finding } from './finding.ts'
import { checkHost } from './host-check/check-host.ts'
import { configuredHost } from './known-hosts.ts'

const LAB_TIMEOUT_MS = 10_000
const DISK_NEED_BYTES = 2 * 2 ** 30

/** What `atp doctor` does. */
export async function examine(options: { config?: string; json?: boolean }): Promise<void> {
  const config = await loadConfig(process.cwd(), options.config)
  const findings: Finding[] = [
    { state: 'ok', what: 'ATP', detail: `${packageVersion()} on Node ${process.versions.node}` },
    { state: 'ok', what: 'configuration', detail: config.file ?? 'none: the defaults apply' },
    { state: 'ok', what: 'own share', detail: describeOwnShare(await measureOwnShare()) },
    ...(config.lab === undefined ? [] : await examineLab()),
    ...(await Promise.all(config.hosts.map(examineHost))).flat(),
    ...(config.vdi === undefined ? [] : [await (await import('./vdi-finding.ts')).examineVdi(config.vdi)]),
  ]
  if (options.json) process.stdout.write(`${JSON.stringify(findings)}\n`)
  else process.stdout.write(findings.map((finding) => printFinding(finding)).join(''))
  if (findings.some((finding) => finding.state === 'bad')) process.exitCode = EXIT.infrastructure
}

async function examineLab(): Promise<Finding[]> {
  let status: Awaited<ReturnType<typeof labStatus>>
  try {
    status = await labStatus({ timeoutMs: LAB_TIMEOUT_MS })
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

/** The host in a line; what is not well about it in lines of its own. */
async function examineHost(host: ResolvedConfig['hosts'][number]): Promise<Finding[]> {
  const report = await checkHost(configuredHost(host))
  const what = `host ${host.id}`
  const { hostname, libvirt, qemu, vms, callMs, uri } = report
  const summary: Finding = {
    state: 'ok',
    what,
    detail: `${hostname}, libvirt ${libvirt}, QEMU ${qemu}, ${vms?.running} of ${vms?.total} VMs run, answers in ${callMs} ms (${uri})`,
  }
  return [
    ...(report.state === 'bad' ? [] : [summary]),
    ...report.findings
      .filter(({ state }) => state !== 'ok')
      .map((finding) => ({ ...finding, what: `${what}: ${finding.what}` })),
  ]
}
