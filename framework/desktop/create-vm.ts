import type { CallOptions } from '../core/index.ts'
import type { LeasedVm } from '../leases/api.ts'
import { protocolRegistry } from '../protocols/index.ts'
import type { ProtocolRegistry } from '../protocols/protocol.ts'
import { TranscriptRecorder } from '../protocols/transcript.ts'
import { DesktopVm, type DesktopVmOptions } from './desktop-vm.ts'
import { Machine, type MachineHost } from './machine.ts'
import { Sessions, type SessionsOptions } from './sessions.ts'

export interface CreateVmOptions extends CallOptions, Omit<SessionsOptions, 'isRunning'>, DesktopVmOptions {
  /** What the lease handed out. An attached VM is known by its name only. */
  leased: LeasedVm
  /** An open connection to the VM's host; stays its owner's. */
  host: MachineHost
  /** Default: a new one, so that evidence can show what was said. */
  transcript?: TranscriptRecorder
  /** What `vm.protocol(type)` can make. Default: everything the framework speaks. */
  registry?: ProtocolRegistry
}

/** A session that ends asks whether the VM runs; it can end without an answer. */
const STATE_TIMEOUT_MS = 2000

/**
 * Composes a VM from its lease and its host's connection. No session is opened yet; the caller owns the VM and
 * calls `close`.
 *
 * @throws `ATP_LIBVIRT_NO_DOMAIN` when the VM is not there, and the host connection's errors.
 */
export async function createVm({
  leased,
  host,
  onDelivery,
  input,
  agents,
  ...options
}: CreateVmOptions): Promise<DesktopVm> {
  const bounds = { signal: options.signal, timeoutMs: options.timeoutMs }
  const control = await host.client('control', bounds)
  const domain = leased.uuid
    ? await control.lookupByUuid(leased.uuid, bounds)
    : await control.lookupByName(leased.name, bounds)
  const target = await host.target(domain, bounds)
  const { transcript = new TranscriptRecorder(), registry = protocolRegistry, ...rest } = options
  const { video, onFigures, onEncodings } = rest
  const machine = new Machine(host, domain, leased.ownership)
  const isRunning = async () => (await machine.state({ timeoutMs: STATE_TIMEOUT_MS })) === 'running'
  const sessions = new Sessions(target, transcript, registry, { video, onFigures, onEncodings, isRunning })
  const vm = new DesktopVm(leased, machine, sessions, {
    ...(onDelivery && { onDelivery }),
    ...(input && { input }),
    ...(agents && { agents }),
  })
  try {
    await machine.watch(bounds)
  } catch (error) {
    await vm.close()
    throw error
  }
  return vm
}
