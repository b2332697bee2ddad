import { withDeadline, type CallOptions } from '../../../core/deadline.ts'
import { isAtpError } from '../../../core/errors.ts'
import type { DataChannel } from '../channels/data.ts'
import { DeviceLink } from './device-link.ts'
import type { UsbDevice } from './device.ts'
import { deviceHeldError, deviceIgnoredError, unpluggedError } from './errors.ts'

const READY_MS = 30_000
const ACKNOWLEDGE_MS = 5000

/**
 * A device in a port of the VM: an open usbredir channel. When the channel is lost and opened again, the device is
 * plugged in anew, in the state after power-on.
 */
export class UsbRedirection<D extends UsbDevice = UsbDevice> {
  readonly device: D
  readonly #channel: DataChannel
  readonly #unwatch: () => void
  readonly #onOver: () => Promise<void>
  #link: DeviceLink | undefined
  #linked = Promise.withResolvers<DeviceLink>()
  #leaving: Promise<void> | undefined
  #over: Promise<void> | undefined

  /**
   * @param channel an open usbredir channel that nobody else uses. Its first bytes must not have been read.
   * @param onOver called once when the device is out of the port for good.
   */
  constructor(channel: DataChannel, device: D, onOver: () => Promise<void> = async () => {}) {
    this.device = device
    this.#channel = channel
    this.#onOver = onOver
    this.#linked.promise.catch(() => {})
    this.#unwatch = channel.onStateChange(({ to, error }) => {
      if (to === 'open') return this.#begin()
      this.#endLink(unpluggedError(device.name, error))
      // Nobody opens it again.
      if (to === 'closed' || to === 'failed') void this.#end(error).catch(() => {})
    })
    this.#begin()
  }

  /** Number of the VM's port, which is that of its channel. */
  get port(): number {
    return this.#channel.id
  }

  /** Whether it is out of the port for good. */
  get unplugged(): boolean {
    return this.#over !== undefined
  }

  /**
   * Resolves when the guest has taken the device into use; after a lost channel, when it has done so again.
   *
   * @throws `ATP_SPICE_USB_IGNORED`, `ATP_SPICE_USB_REFUSED`, `ATP_SPICE_USB_UNPLUGGED`, `ATP_INTERRUPTED`.
   */
  async ready({ signal, timeoutMs = READY_MS }: CallOptions = {}): Promise<void> {
    const { name } = this.device
    try {
      await withDeadline(`plugging in the ${name}`, { signal, timeoutMs }, async (stop) => {
        for (;;) {
          const link = await this.#linked.promise
          const configured = await link.configured.then(
            () => true,
            (error: unknown) => {
              // Lost meanwhile: the next link is a new try.
              if (this.unplugged || stop.aborted || isAtpError(error, 'ATP_SPICE_USB_REFUSED')) throw error
            },
          )
          if (configured) return
        }
      })
    } catch (error) {
      if (!isAtpError(error, 'ATP_TIMEOUT')) throw error
      throw deviceIgnoredError(this.#channel.place, name, timeoutMs, error)
    }
  }

  /**
   * Takes the device out of the port, also in the middle of a transfer. Resolves when the VM has let go of it.
   *
   * @throws `ATP_SPICE_USB_HELD` after `timeoutMs` (default 5 s): the VM does not listen. The device leaves once it does.
   */
  async unplug({ signal, timeoutMs = ACKNOWLEDGE_MS }: CallOptions = {}): Promise<void> {
    const leaving = (this.#leaving ??= this.#leave())
    try {
      await withDeadline(`unplugging the ${this.device.name}`, { signal, timeoutMs }, () => leaving)
    } catch (error) {
      throw isAtpError(error, 'ATP_TIMEOUT')
        ? deviceHeldError(this.#channel.place, this.device.name, timeoutMs, error)
        : error
    }
  }

  async #leave(): Promise<void> {
    try {
      // QEMU ends when a channel is opened after one whose bytes it had not taken; so it is closed only then.
      await this.#link?.disconnect()
    } catch {
      // Without the channel the VM has no device either.
    }
    await this.#end()
  }

  #begin(): void {
    const link = new DeviceLink(this.#channel.place, this.device, (bytes) => this.#channel.sendData(bytes))
    this.#link = link
    this.#linked.resolve(link)
    void this.#read(link)
  }

  /** Reads until the connection ends; ends it for what cannot be understood. */
  async #read(link: DeviceLink): Promise<void> {
    try {
      for (;;) {
        const { body } = await this.#channel.receive()
        if (this.#link !== link) return
        link.receive(body)
      }
    } catch (error) {
      if (this.#link !== link) return
      link.end(error as Error)
      if (isAtpError(error, 'ATP_SPICE_USB_REFUSED')) return
      this.#channel.lose(error as Error)
    }
  }

  #endLink(reason: Error): void {
    const link = this.#link
    if (!link) return
    this.#link = undefined
    this.#linked = Promise.withResolvers()
    this.#linked.promise.catch(() => {})
    link.end(reason)
  }

  #end(cause?: Error): Promise<void> {
    this.#over ??= this.#finish(cause)
    return this.#over
  }

  async #finish(cause: Error | undefined): Promise<void> {
    this.#unwatch()
    const reason = unpluggedError(this.device.name, cause)
    this.#endLink(reason)
    this.#linked.reject(reason)
    try {
      await this.#onOver()
    } finally {
      await this.device.close?.()
    }
  }
}
