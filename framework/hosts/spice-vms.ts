import { configError, nearest, stateError, type CallOptions, type Secret } from '../core/index.ts'
import { SpiceConnectionManager, type SpiceAddress, type SpiceVmConnection } from '../protocols/spice/index.ts'
import { spiceServer } from './spice-carriers.ts'

/** How to reach and enter a SPICE server. */
export interface SpiceVmOptions {
  password?: Secret | undefined
  /** The port speaks TLS. Default false. */
  tls?: boolean
  /** Whether the server's certificate is checked. Default true. */
  tlsVerify?: boolean
}

/** A VM whose SPICE server is named by its address. An entry of `spice.vms` in a hosts file is one. */
export interface SpiceVmSettings extends SpiceVmOptions {
  vmId: string
  serverAddr: string
  port: number
}

/** VMs whose SPICE servers are named by address, each with one session that opens when it is first wanted. */
export class SpiceVms {
  readonly #known = new Map<string, SpiceVmSettings>()
  readonly #sessions = new SpiceConnectionManager()
  readonly #opening = new Map<string, Promise<SpiceVmConnection>>()

  /** @throws `ATP_SPICE_DUPLICATE`, `ATP_SPICE_URI`; nothing is added then. */
  constructor(vms: readonly SpiceVmSettings[] = []) {
    for (const vm of vms) this.#register(vm)
  }

  /** Ids of all VMs, in the order in which they were added. */
  get ids(): string[] {
    return [...this.#known.keys()]
  }

  /** Adds a VM and opens its main channel. Nothing is left of it when that fails. */
  async add(vm: SpiceVmSettings, options?: CallOptions): Promise<SpiceVmConnection> {
    this.#register(vm)
    try {
      return await this.get(vm.vmId, options)
    } catch (error) {
      await this.remove(vm.vmId)
      throw error
    }
  }

  /**
   * The session with a VM, its main channel open. One that was given up begins anew.
   *
   * @throws `ATP_SPICE_UNKNOWN_VM`
   */
  async get(vmId: string, options?: CallOptions): Promise<SpiceVmConnection> {
    const vm = this.#known.get(vmId)
    if (!vm) throw this.#unknown(vmId)
    const opening = this.#opening.get(vmId) ?? this.#open(vm, options)
    this.#opening.set(vmId, opening)
    try {
      return await opening
    } finally {
      if (this.#opening.get(vmId) === opening) this.#opening.delete(vmId)
    }
  }

  /** Ends the session with a VM and forgets it. @throws `ATP_SPICE_UNKNOWN_VM` */
  async remove(vmId: string): Promise<void> {
    if (!this.#known.delete(vmId)) throw this.#unknown(vmId)
    await this.#sessions.removeVm(vmId)
  }

  /** Ends all sessions. */
  async close(): Promise<void> {
    this.#known.clear()
    await this.#sessions.close()
  }

  async #open(vm: SpiceVmSettings, options?: CallOptions): Promise<SpiceVmConnection> {
    const { vmId, password, tlsVerify = true } = vm
    if (this.#sessions.vmIds.includes(vmId)) {
      const session = this.#sessions.getVmConnection(vmId)
      // A lost one comes back by itself.
      if (session.state !== 'closed' && session.state !== 'failed') {
        await session.connectMainChannel(options)
        return session
      }
      await this.#sessions.removeVm(vmId)
    }
    const server = spiceServer(addressOf(vm), {
      name: vmId,
      tls: { verify: tlsVerify },
      ...(password && { password }),
    })
    return await this.#sessions.addVm(vmId, { server }, options)
  }

  #register(vm: SpiceVmSettings): void {
    const { vmId, port } = vm
    if (this.#known.has(vmId)) {
      throw stateError('ATP_SPICE_DUPLICATE', `there are two SPICE servers of "${vmId}"`, {
        context: { vm: vmId },
        remedy: 'give one of them another id',
      })
    }
    if (!Number.isInteger(port) || port < 1 || port > 65_535) {
      throw configError('ATP_SPICE_URI', `the SPICE server of "${vmId}" has no usable port: ${port}`, {
        remedy: 'give a whole number from 1 to 65535',
      })
    }
    this.#known.set(vmId, vm)
  }

  #unknown(vmId: string): Error {
    const guess = nearest(vmId, this.#known.keys())
    return stateError('ATP_SPICE_UNKNOWN_VM', `there is no VM "${vmId}" with a SPICE server of its own`, {
      context: { vm: vmId },
      remedy: guess ? `did you mean "${guess}"?` : `known: ${this.ids.join(', ') || 'none'}`,
    })
  }
}

function addressOf({ serverAddr: host, port, tls = false }: SpiceVmSettings): SpiceAddress {
  return tls ? { kind: 'tcp', host, tlsPort: port } : { kind: 'tcp', host, port }
}
