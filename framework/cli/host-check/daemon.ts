import { isAtpError, type CallOptions } from '../../core/index.ts'
import { parseCapabilities, type LibvirtClient, type LibvirtUri } from '../../protocols/libvirt/index.ts'
import type { Finding } from '../finding.ts'
import { explain, withoutRemedy } from './explain.ts'
import type { HostReport } from './report.ts'

/** Oldest versions that ATP supports. */
const OLDEST_LIBVIRT = 7_000_000
const OLDEST_QEMU = 6_000_000
const SAMPLES = 5

type Facts = Partial<HostReport> & { findings: Finding[] }

/** Versions, as the numbers the daemon gives and as text. */
export async function examineVersions(client: LibvirtClient, uri: LibvirtUri, bounds: CallOptions): Promise<Facts> {
  const what = 'versions'
  const number = await client.libVersion(bounds)
  const libvirt = versionText(number)
  const hostname = await client.hostname(bounds)
  let qemu: number
  try {
    qemu = await client.hypervisorVersion(bounds)
  } catch (error) {
    return {
      hostname,
      libvirt,
      findings: [{ ...explain(what, error, uri), remedy: 'install qemu-system-x86 on the host' }],
    }
  }
  const detail = `libvirt ${libvirt}, QEMU ${versionText(qemu)} on ${hostname}`
  const old = number < OLDEST_LIBVIRT || qemu < OLDEST_QEMU
  return {
    hostname,
    libvirt,
    qemu: versionText(qemu),
    findings: [
      old
        ? { state: 'warn', what, detail, remedy: 'libvirt 7.0 and QEMU 6.0 are the oldest that are supported' }
        : { state: 'ok', what, detail },
    ],
  }
}

/** Whether VMs get the processor's own virtualisation. */
export async function examineKvm(client: LibvirtClient, bounds: CallOptions): Promise<Facts> {
  const what = 'KVM'
  const { guests } = parseCapabilities(await client.capabilities(bounds))
  if (guests.length === 0) {
    const detail = 'the daemon finds no emulator at all'
    const remedy = 'install qemu-system-x86 on the host and restart its libvirt daemon'
    return { kvm: false, findings: [{ state: 'bad', what, detail, remedy }] }
  }
  const fast = guests.filter(({ kvm }) => kvm).map(({ arch }) => arch)
  if (fast.length > 0) return { kvm: true, findings: [{ state: 'ok', what, detail: `for ${fast.join(', ')}` }] }
  return {
    kvm: false,
    findings: [
      {
        state: 'warn',
        what,
        detail: 'none: VMs run by software emulation, several times slower',
        remedy:
          'on the host: is there /dev/kvm, and may QEMU’s user open it (group kvm)? In a VM switch on nested virtualisation',
      },
    ],
  }
}

/** How long a small call takes. */
export async function examineLatency(client: LibvirtClient, connectMs: number, bounds: CallOptions): Promise<Facts> {
  const samples: number[] = []
  for (let count = 0; count < SAMPLES; count++) {
    const started = performance.now()
    await client.hostname(bounds)
    samples.push(performance.now() - started)
  }
  const callMs = samples.toSorted((a, b) => a - b)[Math.floor(SAMPLES / 2)] as number
  const detail = `connected in ${round(connectMs)} ms, a call takes ${round(callMs)} ms`
  return {
    connectMs: round(connectMs),
    callMs: round(callMs),
    findings: [{ state: 'ok', what: 'latency', detail }],
  }
}

/** What the daemon lets this user do with a VM, told by a harmless command to the first monitor that answers. */
export async function examinePermissions(
  client: LibvirtClient,
  running: readonly Parameters<LibvirtClient['monitorCommand']>[0][],
  uri: LibvirtUri,
  bounds: CallOptions,
): Promise<Facts> {
  const what = 'permissions'
  if (running.length === 0) {
    return { findings: [{ state: 'ok', what, detail: 'may list VMs; more is not tried, since none runs' }] }
  }
  let stuck: unknown
  for (const domain of running.slice(0, MONITORS_TRIED)) {
    try {
      await client.monitorCommand(domain, '{"execute":"query-status"}', { ...bounds, timeoutMs: MONITOR_TIMEOUT_MS })
      return { findings: [{ state: 'ok', what, detail: `may command the monitor of ${domain.name}` }] }
    } catch (error) {
      if (isAtpError(error) && DENIED.has(error.context['libvirtCode'])) {
        const remedy =
          'connect as a user who may change VMs: group libvirt, no read-only socket, no polkit rule against it'
        return { findings: [{ ...explain(what, error, uri), remedy }] }
      }
      stuck = error
    }
  }
  return {
    findings: [
      {
        state: 'warn',
        what,
        detail: `no monitor answered: ${withoutRemedy(stuck)}`,
        remedy: 'the VM may hang; look at it on the host: virsh qemu-monitor-command VM --hmp "info status"',
      },
    ],
  }
}

const MONITORS_TRIED = 3
const MONITOR_TIMEOUT_MS = 3_000
/** `VIR_ERR_OPERATION_DENIED`, `VIR_ERR_ACCESS_DENIED`. */
const DENIED = new Set<unknown>([29, 88])

function versionText(number: number): string {
  return `${Math.floor(number / 1e6)}.${Math.floor(number / 1e3) % 1e3}.${number % 1e3}`
}

function round(ms: number): number {
  return Number(ms.toFixed(ms < 10 ? 1 : 0))
}
