import { DeviceLink } from '../../../../framework/protocols/spice/usb/device-link.ts'
import type { UsbDevice } from '../../../../framework/protocols/spice/usb/index.ts'
import { OUR_CAPABILITIES, PacketParser } from '../../../../framework/protocols/spice/usb/packet-parser.ts'
import { writePacket, type Capabilities, type Packet } from '../../../../framework/protocols/spice/usb/packets.ts'

type Of<K extends Packet['kind']> = Extract<Packet, { kind: K }>

/** The VM's side of a link, on which a test plays QEMU and the guest. */
export class GuestSide {
  readonly link: DeviceLink
  /** Everything the device's side said. */
  readonly heard: Packet[] = []
  readonly #capabilities: readonly number[]
  readonly #parser: PacketParser
  #news: () => void = () => {}
  #ids = 0n

  constructor(device: UsbDevice, capabilities = OUR_CAPABILITIES) {
    this.#capabilities = capabilities
    this.#parser = new PacketParser('the guest', capabilities)
    this.link = new DeviceLink('test', device, async (bytes) => {
      for (const packet of this.#parser.push(bytes)) this.heard.push(packet)
      this.#news()
    })
  }

  /** Says hello and lets the guest choose the configuration. */
  begin(): this {
    this.say({ kind: 'hello', id: 0n, version: 'test', capabilities: this.#capabilities })
    this.say({ kind: 'set_configuration', id: this.#ids++, configuration: 1 })
    return this
  }

  say(packet: Packet): void {
    // Both sides know what the other can do once they have read its hello.
    const common: Capabilities = this.#parser.capabilities ?? new Set()
    this.link.receive(writePacket(packet, packet.kind === 'hello' ? new Set() : common))
  }

  /** The first packet of a kind that is heard from now on, or was heard since the last look. */
  async next<K extends Packet['kind']>(kind: K): Promise<Of<K>> {
    for (;;) {
      const at = this.heard.findIndex((packet) => packet.kind === kind)
      if (at >= 0) return this.heard.splice(at, 1)[0] as Of<K>
      await new Promise<void>((resolve) => (this.#news = resolve))
    }
  }

  control(
    requestType: number,
    request: number,
    { value = 0, index = 0, length = 0, data = new Uint8Array(0) } = {},
  ): Promise<Of<'control_packet'>> {
    const endpoint = requestType & 0x80
    const wanted = data.length || length
    const fields = { endpoint, requestType, request, status: 0, value, index, length: wanted, data }
    this.say({ kind: 'control_packet', id: this.#ids++, ...fields })
    return this.next('control_packet')
  }

  /** Bytes to the device, or a number of bytes from it; resolves to its answer. */
  async bulk(endpoint: number, what: Uint8Array | number): Promise<Of<'bulk_packet'>> {
    this.askBulk(endpoint, what)
    return this.next('bulk_packet')
  }

  /** The same without waiting; the id of the packet. */
  askBulk(endpoint: number, what: Uint8Array | number): bigint {
    const id = this.#ids++
    const [length, data] = typeof what === 'number' ? [what, new Uint8Array(0)] : [what.length, what]
    this.say({ kind: 'bulk_packet', id, endpoint, status: 0, length, streamId: 0, data })
    return id
  }
}
