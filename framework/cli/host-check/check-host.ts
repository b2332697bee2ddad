import { isAtpError, withDeadline, type CallOptions } from '../../core/index.ts'
import { dial, type HostInfo } from '../../hosts/index.ts'
import { LibvirtClient, parseLibvirtUri, type LibvirtUri } from '../../protocols/libvirt/index.ts'
import { worst, type Finding } from '../finding.ts'
import { examineAddress } from './address.ts'
import { examineCertificate } from './certificate.ts'
import { examineKvm, examineLatency, examinePermissions, examineVersions } from './daemon.ts'
import { explain } from './explain.ts'
import { examineAgents, examineSpice, readMachines } from './machines.ts'
import type { HostReport } from './report.ts'
import { sshHelper } from './ssh-helper.ts'

/** A host to be examined. */
export interface CheckedHost {
  id: string
  uri: string
  /** Where it was configured, stored, or `lab`. */
  origin: string
  /** What it takes to reach it; may throw, for a password that cannot be read. */
  info: () => HostInfo
  /** Making a connection may take so long. */
  connectTimeoutMs: number
}

/** Reaching a host that is off takes no longer. */
const REACH_TIMEOUT_MS = 10_000
/** Everything behind the connection. */
const EXAMINE_TIMEOUT_MS = 60_000

/**
 * Examines one host as far as it can be reached, within `timeoutMs`. Never rejects except when `signal` aborts: what
 * does not work is a finding.
 */
export async function checkHost(host: CheckedHost, bounds: CallOptions = {}): Promise<HostReport> {
  const { id, origin } = host
  const report: HostReport = { id, uri: host.uri, origin, state: 'ok', findings: [] }
  const failures: Finding[] = []
  try {
    await withDeadline(`examining host "${id}"`, bounds, (signal) => examine(host, report, { signal }))
  } catch (error) {
    if (bounds.signal?.aborted) throw error
    const remedy = isAtpError(error, 'ATP_TIMEOUT') && 'see whether the host is overloaded, or give it more time'
    failures.push({ ...explain('host', error, undefined), ...(remedy && { remedy }) })
  }
  // A copy: what is late has no say any more.
  const findings = [...report.findings, ...failures]
  return { ...report, findings, state: worst(findings) }
}

async function examine(host: CheckedHost, report: HostReport, bounds: CallOptions): Promise<void> {
  const { findings } = report
  let uri: LibvirtUri
  let info: HostInfo
  try {
    info = host.info()
    uri = parseLibvirtUri(info.uri, { allow: info.access?.allow })
  } catch (error) {
    findings.push(explain('configuration', error, undefined))
    return
  }
  const address = await examineAddress(uri, bounds)
  if (address.finding) findings.push(address.finding)
  if (address.finding?.state === 'bad') return
  const certificate =
    uri.transport === 'tls' ? examineCertificate(uri, { ...bounds, timeoutMs: REACH_TIMEOUT_MS }) : undefined
  const made = await connect(host, info, uri, findings, bounds, certificate)
  if (!made) return
  const { client, connectMs } = made
  try {
    await withDeadline(`examining host "${host.id}"`, { ...bounds, timeoutMs: EXAMINE_TIMEOUT_MS }, (signal) =>
      examineDaemon(client, { report, uri, connectMs, hostAddress: address.host }, { signal }),
    )
  } catch (error) {
    if (bounds.signal?.aborted) throw error
    findings.push(explain('daemon', error, uri))
  } finally {
    await client.close()
  }
}

/** Connects in two steps, so that it shows which one fails. */
async function connect(
  host: CheckedHost,
  info: HostInfo,
  uri: LibvirtUri,
  findings: Finding[],
  bounds: CallOptions,
  certificate: Promise<Finding | undefined> | undefined,
): Promise<{ client: LibvirtClient; connectMs: number } | undefined> {
  let step: 'connection' | 'session' = 'connection'
  try {
    const { access } = info
    const helper = uri.transport === 'ssh' ? sshHelper(uri, { ...bounds, timeoutMs: REACH_TIMEOUT_MS }) : undefined
    const dialled = performance.now()
    const stream = await dial(uri, { ...bounds, timeoutMs: REACH_TIMEOUT_MS, ...(access && { access }) })
    const dialMs = performance.now() - dialled
    const shown = await certificate
    if (shown) findings.push(shown)
    const through = await helper
    findings.push({ state: 'ok', what: step, detail: `${stream.peer}${through ? ` through ${through}` : ''}` })
    step = 'session'
    const opened = performance.now()
    const { sasl } = access ?? {}
    const client = await LibvirtClient.open(stream, {
      ...bounds,
      path: uri.path,
      timeoutMs: host.connectTimeoutMs,
      ...(sasl && { sasl }),
    })
    findings.push({
      state: 'ok',
      what: step,
      detail: sasl ? `opened by SASL as ${sasl.user}` : 'opened without a password',
    })
    return { client, connectMs: dialMs + performance.now() - opened }
  } catch (error) {
    if (bounds.signal?.aborted) throw error
    const shown = await certificate
    if (step === 'connection' && shown) findings.push(shown)
    findings.push(explain(step, error, uri))
    return undefined
  }
}

async function examineDaemon(
  client: LibvirtClient,
  about: { report: HostReport; uri: LibvirtUri; connectMs: number; hostAddress: string },
  bounds: CallOptions,
): Promise<void> {
  const { report, uri } = about
  const add = ({ findings, ...facts }: Partial<HostReport>) => {
    Object.assign(report, facts)
    report.findings.push(...(findings ?? []))
  }
  add(await examineVersions(client, uri, bounds))
  const { total, machines } = await readMachines(client, bounds)
  const running = machines.map(({ domain }) => domain)
  add(await examinePermissions(client, running, uri, bounds))
  add(await examineKvm(client, bounds))
  const { answering, findings } = await examineAgents(client, machines, bounds)
  add({ vms: { total, running: running.length, agents: answering }, findings })
  const place = { hostAddress: about.hostAddress, local: uri.transport === 'unix' }
  add({ findings: await examineSpice(machines, place, bounds) })
  add(await examineLatency(client, about.connectMs, bounds))
}
