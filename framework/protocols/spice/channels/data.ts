import { SpiceChannel, type ChannelHost } from '../channel.ts'
import { spiceUnsupportedError } from '../errors.ts'
import { PORT_CLIENT, PORT_EVENT, PORT_SERVER, SPICEVMC } from '../wire/numbers.ts'
import { SpiceReader } from '../wire/reader.ts'
import { SpiceWriter } from '../wire/writer.ts'

const PORT_NAME_MAX_BYTES = 1024

/**
 * A channel that carries the bytes of something else: usbredir packets, smart-card messages. Where one message ends
 * means nothing: packets may be split and joined.
 *
 * On a usbredir channel nothing may be sent before the hello packet: QEMU would end.
 */
export class DataChannel extends SpiceChannel {
  /** Takes the bytes as they come. Without it they wait for {@link SpiceChannel.receive}. */
  onData: ((bytes: Uint8Array) => void) | undefined

  constructor(host: ChannelHost, type: 'usbredir' | 'smartcard' | 'port' | 'webdav', id = 0) {
    super(host, { type, id })
  }

  /** @throws `ATP_SPICE_CLOSED` */
  async sendData(bytes: Uint8Array): Promise<void> {
    await this.send(SPICEVMC.data, bytes)
  }

  protected override handle(type: number, body: Uint8Array): boolean {
    // Not among the capabilities this client names.
    if (type === SPICEVMC.compressedData) throw spiceUnsupportedError(this.place, 'compressed data')
    if (type !== SPICEVMC.data || !this.onData) return false
    this.onData(body)
    return true
  }
}

export type PortEvent = keyof typeof PORT_EVENT

/** A port of the VM with a name: a virtio-serial or serial port, or the folder channel. */
export class PortChannel extends DataChannel {
  /** Called when the guest opens or closes the port, or sends a break. */
  onEvent: ((event: PortEvent) => void) | undefined
  #portName: string | undefined
  #guestOpen = false

  constructor(host: ChannelHost, type: 'port' | 'webdav', id = 0) {
    super(host, type, id)
  }

  /** As the VM's XML names it: `org.spice-space.webdav.0`. Undefined while the channel is not open. */
  get portName(): string | undefined {
    return this.#portName
  }

  /** Whether the guest has the port open. */
  get guestOpen(): boolean {
    return this.#guestOpen
  }

  async sendEvent(event: PortEvent): Promise<void> {
    await this.send(PORT_CLIENT.event, new SpiceWriter(1).u8(PORT_EVENT[event]).finish())
  }

  protected override get ready(): boolean {
    return this.#portName !== undefined
  }

  protected override reset(): void {
    this.#portName = undefined
    this.#guestOpen = false
  }

  protected override handle(type: number, body: Uint8Array): boolean {
    const reader = new SpiceReader(body, `${this.place}, message ${type}`)
    if (type === PORT_SERVER.init) {
      const nameBytes = reader.u32()
      const name = reader.target('the name')
      this.#guestOpen = reader.u8() !== 0
      this.#portName = name.text(Math.min(nameBytes, PORT_NAME_MAX_BYTES))
      return true
    }
    if (type === PORT_SERVER.event) {
      const number = reader.u8()
      const event = (Object.keys(PORT_EVENT) as PortEvent[]).find((name) => PORT_EVENT[name] === number)
      if (!event) throw reader.error(`an event ${number}`)
      if (event !== 'break') this.#guestOpen = event === 'opened'
      this.onEvent?.(event)
      return true
    }
    return super.handle(type, body)
  }
}
