import type { CallOptions } from '../../core/deadline.ts'
import { stateError } from '../../core/errors.ts'
import { SpiceVmConnection, type SpiceConnectionOptions } from './vm-connection.ts'

/** The SPICE sessions of many VMs. */
export class SpiceConnectionManager {
  readonly #connections = new Map<string, SpiceVmConnection>()

  /** Ids of the VMs, in the order in which they were added. */
  get vmIds(): string[] {
    return [...this.#connections.keys()]
  }

  /**
   * Adds a VM and opens its main channel. Nothing is left of it when that fails.
   *
   * @throws `ATP_SPICE_DUPLICATE`, what opening the channel throws.
   */
  async addVm(vmId: string, options: SpiceConnectionOptions, bounds?: CallOptions): Promise<SpiceVmConnection> {
    if (this.#connections.has(vmId)) {
      throw stateError('ATP_SPICE_DUPLICATE', `there is a SPICE session of "${vmId}" already`, {
        context: { vm: vmId },
        remedy: 'remove it first',
      })
    }
    const connection = new SpiceVmConnection(vmId, options)
    // Before the first wait: two calls at once must not both pass.
    this.#connections.set(vmId, connection)
    try {
      await connection.connectMainChannel(bounds)
    } catch (error) {
      await this.#remove(vmId, connection)
      throw error
    }
    return connection
  }

  /** @throws `ATP_SPICE_UNKNOWN_VM` */
  getVmConnection(vmId: string): SpiceVmConnection {
    const connection = this.#connections.get(vmId)
    if (connection) return connection
    throw stateError('ATP_SPICE_UNKNOWN_VM', `there is no SPICE session of "${vmId}"`, {
      context: { vm: vmId },
      remedy: `there are those of ${this.vmIds.join(', ') || 'no VM'}`,
    })
  }

  /** Closes all channels of a VM and forgets it. False when it is not known. */
  async removeVm(vmId: string): Promise<boolean> {
    const connection = this.#connections.get(vmId)
    if (connection) await this.#remove(vmId, connection)
    return connection !== undefined
  }

  /** Removes all VMs. */
  async close(): Promise<void> {
    await Promise.all(this.vmIds.map((vmId) => this.removeVm(vmId)))
  }

  async #remove(vmId: string, connection: SpiceVmConnection): Promise<void> {
    if (this.#connections.get(vmId) === connection) this.#connections.delete(vmId)
    await connection.disconnectAll()
  }
}
