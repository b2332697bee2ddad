import type { CallOptions } from '../../../core/deadline.ts'
import type { SpiceVmConnection } from '../vm-connection.ts'
import type { UsbDevice } from './device.ts'
import { alreadyPluggedError, noPortError } from './errors.ts'
import { UsbRedirection } from './usb-redirection.ts'

/** Devices that are plugged in anywhere, from the moment somebody begins to plug them in. */
const plugged = new WeakSet<UsbDevice>()

/** The ports of a VM that take USB devices: its usbredir channels. */
export class UsbPorts {
  readonly #connection: SpiceVmConnection
  readonly #taken = new Map<number, UsbRedirection | undefined>()

  constructor(connection: SpiceVmConnection) {
    this.#connection = connection
  }

  /** Devices that are in a port, in the order of the ports. */
  get plugged(): readonly UsbRedirection[] {
    return [...this.#taken.entries()].toSorted(([a], [b]) => a - b).flatMap(([, port]) => port ?? [])
  }

  /**
   * Plugs a device into the first free port. Resolves when the guest has taken it into use.
   *
   * @throws `ATP_SPICE_USB_NO_PORT`, `ATP_SPICE_USB_PLUGGED`, `ATP_SPICE_USB_REFUSED`, `ATP_SPICE_USB_IGNORED` after
   *   `timeoutMs` (default 30 s), what the device's `open` and opening a channel throw. Nothing is plugged in then,
   *   unless the VM was suspended meanwhile: the device leaves once it runs.
   */
  async plug<D extends UsbDevice>(device: D, options: CallOptions = {}): Promise<UsbRedirection<D>> {
    if (plugged.has(device)) throw alreadyPluggedError(device.name)
    const port = this.#freePort()
    this.#taken.set(port, undefined)
    plugged.add(device)
    let redirection: UsbRedirection<D> | undefined
    try {
      redirection = await this.#open(port, device, options)
      await redirection.ready(options)
      return redirection
    } catch (error) {
      // Why it failed says more than why it is not out yet.
      await redirection?.unplug().catch(() => {})
      throw error
    }
  }

  /** Unplugs every device, as far as the VM lets go of them. @throws `ATP_SPICE_USB_HELD` of the first that it held. */
  async close(options?: CallOptions): Promise<void> {
    const results = await Promise.allSettled(this.plugged.map((redirection) => redirection.unplug(options)))
    const held = results.find((result) => result.status === 'rejected')
    if (held) throw held.reason
  }

  async #open<D extends UsbDevice>(port: number, device: D, options: CallOptions): Promise<UsbRedirection<D>> {
    const release = async () => {
      this.#taken.delete(port)
      plugged.delete(device)
      await this.#connection.closeChannel('usbredir', port)
    }
    try {
      await device.open?.(options)
      const channel = await this.#connection.openChannel('usbredir', { id: port, ...options })
      const redirection = new UsbRedirection(channel, device, release)
      this.#taken.set(port, redirection)
      return redirection
    } catch (error) {
      await release()
      await device.close?.()
      throw error
    }
  }

  #freePort(): number {
    const ports = this.#connection.main.channels.flatMap(({ type, id }) => (type === 'usbredir' ? [id] : []))
    const free = ports
      .toSorted((a, b) => a - b)
      .find((port) => !this.#taken.has(port) && !this.#connection.getChannel('usbredir', port))
    if (free === undefined) throw noPortError(this.#connection.server.name, ports.length)
    return free
  }
}
