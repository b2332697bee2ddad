import { spiceProtocolError } from '../errors.ts'
import { ControlEndpoint } from './control-endpoint.ts'
import { CONFIGURATION, VERSION_BCD } from './descriptors.ts'
import type { UsbDevice } from './device.ts'
import { ENDPOINT_TYPE, IN, SPEED, STATUS } from './numbers.ts'
import { OUR_CAPABILITIES, PacketParser, TRANSFER_MAX_BYTES } from './packet-parser.ts'
import {
  endpointIndex,
  writePacket,
  type BulkTransfer,
  type Capabilities,
  type ControlTransfer,
  type EndpointInfo,
  type Packet,
} from './packets.ts'
import { deviceRefusedError } from './errors.ts'

const VERSION = 'OCloudView ATP'
/** Transfers that may wait for a device. */
const TRANSFERS_MAX = 1024
const WAITING_MAX_BYTES = 16 * TRANSFER_MAX_BYTES
/** What a suspended VM did not take, its server offers it again only when something follows. */
const FAREWELL_MS = 1000
const EMPTY = new Uint8Array(0)

/** A bulk transfer that was asked for and not answered. */
interface Waiting {
  packet: BulkTransfer & { id: bigint }
  cancelled: boolean
}

/**
 * One device over one connection of a usbredir channel, from the hello to the end of the connection. It says nothing
 * before the peer's hello, then: hello, endpoints, interfaces, the device.
 */
export class DeviceLink {
  readonly #place: string
  readonly #device: UsbDevice
  readonly #sendBytes: (bytes: Uint8Array) => Promise<void>
  readonly #parser: PacketParser
  readonly #control: ControlEndpoint
  readonly #waiting = new Map<bigint, Waiting>()
  readonly #configured = Promise.withResolvers<void>()
  readonly #gone = Promise.withResolvers<void>()
  #waitingBytes = 0
  #transfers: Promise<void> = Promise.resolve()
  #configuration = CONFIGURATION
  #reports = 0n
  /** Disconnections that the VM has not acknowledged. */
  #farewells = 0
  #connected = false

  constructor(place: string, device: UsbDevice, sendBytes: (bytes: Uint8Array) => Promise<void>) {
    this.#place = place
    this.#device = device
    this.#sendBytes = sendBytes
    this.#parser = new PacketParser(place)
    this.#control = new ControlEndpoint(device)
    this.#configured.promise.catch(() => {})
    this.#gone.promise.catch(() => {})
  }

  /** Resolves when the guest has chosen the device's configuration, which its USB core does with every device. */
  get configured(): Promise<void> {
    return this.#configured.promise
  }

  /** @throws `ATP_SPICE_PROTOCOL`, `ATP_SPICE_USB_REFUSED`; the connection is of no use afterwards. */
  receive(bytes: Uint8Array): void {
    for (const packet of this.#parser.push(bytes)) this.#handle(packet)
  }

  /**
   * Takes the device away from the VM; transfers under way go unanswered. Resolves when the VM let go of it and has taken
   * all that was said, at once when it never had it. A VM that is suspended does so when it runs again.
   */
  async disconnect(): Promise<void> {
    if (!this.#connected) return
    this.#detach()
    this.#farewells = 1
    await this.#send({ kind: 'device_disconnect', id: 0n })
    if (!this.#parser.capabilities?.has('device_disconnect_ack')) return this.#gone.resolve()
    const again = setInterval(() => {
      this.#farewells++
      this.#reply({ kind: 'device_disconnect', id: 0n })
    }, FAREWELL_MS)
    try {
      await this.#gone.promise
    } finally {
      clearInterval(again)
    }
  }

  /** The connection is over. */
  end(reason: Error): void {
    this.#detach()
    this.#configured.reject(reason)
    this.#gone.reject(reason)
  }

  #detach(): void {
    this.#connected = false
    this.#waiting.clear()
    this.#waitingBytes = 0
    this.#device.onInterrupt?.(undefined)
  }

  #handle(packet: Packet): void {
    switch (packet.kind) {
      case 'hello':
        return this.#introduce()
      case 'device_disconnect_ack':
        if (--this.#farewells <= 0) this.#gone.resolve()
        return
      case 'filter_filter':
        return
      case 'filter_reject':
        throw deviceRefusedError(this.#place, this.#device.name)
    }
    // What was under way when the device was taken away.
    if (!this.#connected) return
    switch (packet.kind) {
      case 'reset':
        this.#control.halted.clear()
        this.#device.onInterrupt?.(undefined)
        return this.#device.reset()
      case 'set_configuration':
        return this.#configure(packet)
      case 'get_configuration':
        return this.#reply({
          ...packet,
          kind: 'configuration_status',
          status: STATUS.success,
          configuration: this.#configuration,
        })
      case 'set_alt_setting':
      case 'get_alt_setting': {
        // There is none but the first.
        const alt = packet.kind === 'set_alt_setting' ? packet.alt : 0
        const known = packet.interface === 0 && alt === 0
        const status = known ? STATUS.success : STATUS.inval
        return this.#reply({ kind: 'alt_setting_status', id: packet.id, status, interface: packet.interface, alt })
      }
      case 'start_interrupt_receiving':
      case 'stop_interrupt_receiving':
        return this.#switchInterrupt(packet)
      case 'control_packet':
        return this.#answerControl(packet)
      case 'bulk_packet':
        return this.#queue(packet)
      case 'interrupt_packet':
        // No device of ours has an interrupt endpoint from the guest.
        return this.#reply({ ...packet, status: STATUS.stall, length: 0, data: EMPTY })
      case 'cancel_data_packet': {
        const waiting = this.#waiting.get(packet.id)
        if (waiting) waiting.cancelled = true
        return
      }
      default:
        throw spiceProtocolError(this.#place, `a ${packet.kind} from the VM`)
    }
  }

  #introduce(): void {
    const { description } = this.#device
    const { interfaceClass, endpoints, speed, vendorId, productId } = description
    const infos: EndpointInfo[] = []
    const control = { type: ENDPOINT_TYPE.control, interval: 0, interface: 0, maxPacketSize: 64 }
    infos[endpointIndex(0)] = control
    infos[endpointIndex(IN)] = control
    for (const { address, type, interval, maxPacketSize } of endpoints) {
      infos[endpointIndex(address)] = { type: ENDPOINT_TYPE[type], interval, interface: 0, maxPacketSize }
    }
    this.#device.reset()
    this.#connected = true
    this.#reply({ kind: 'hello', id: 0n, version: VERSION, capabilities: OUR_CAPABILITIES })
    this.#reply({ kind: 'ep_info', id: 0n, endpoints: infos })
    this.#reply({ kind: 'interface_info', id: 0n, interfaces: [{ interface: 0, ...interfaceClass }] })
    const ids = { vendorId, productId, versionBcd: VERSION_BCD }
    // A device's class is that of its interface.
    const classes = { class: 0, subclass: 0, protocol: 0 }
    this.#reply({ kind: 'device_connect', id: 0n, speed: SPEED[speed], ...classes, ...ids })
  }

  #configure({ id, configuration }: { id: bigint; configuration: number }): void {
    // 0 leaves the device without one.
    const known = configuration === CONFIGURATION || configuration === 0
    const status = known ? STATUS.success : STATUS.inval
    this.#reply({ kind: 'configuration_status', id, status, configuration })
    if (!known) return
    this.#configuration = configuration
    this.#control.halted.clear()
    if (configuration === CONFIGURATION) this.#configured.resolve()
  }

  #switchInterrupt({ kind, id, endpoint }: Packet & { endpoint: number }): void {
    const known = this.#device.description.endpoints.some(
      ({ address, type }) => address === endpoint && type === 'interrupt',
    )
    const status = known ? STATUS.success : STATUS.inval
    this.#reply({ kind: 'interrupt_receiving_status', id, status, endpoint })
    if (!known) return
    if (kind === 'stop_interrupt_receiving') return this.#device.onInterrupt?.(undefined)
    this.#device.onInterrupt?.(async (data) => {
      const { length } = data
      const status = STATUS.success
      await this.#send({ kind: 'interrupt_packet', id: this.#reports++, endpoint, status, length, data })
    })
  }

  #answerControl(packet: ControlTransfer & { kind: 'control_packet'; id: bigint }): void {
    const answer = this.#control.answer(packet)
    const fromDevice = (packet.requestType & IN) !== 0
    const data = (fromDevice && answer) || EMPTY
    const length = answer ? (fromDevice ? data.length : packet.data.length) : 0
    this.#reply({ ...packet, status: answer ? STATUS.success : STATUS.stall, length, data })
  }

  /** Bulk transfers of a device are done one after the other: each changes what the next means. */
  #queue(packet: BulkTransfer & { kind: 'bulk_packet'; id: bigint }): void {
    const waiting = { packet, cancelled: false }
    this.#waitingBytes += packet.data.length
    if (this.#waiting.size >= TRANSFERS_MAX || this.#waitingBytes > WAITING_MAX_BYTES) {
      throw spiceProtocolError(this.#place, `${this.#waiting.size} transfers wait already`)
    }
    if (packet.length > TRANSFER_MAX_BYTES)
      throw spiceProtocolError(this.#place, `a transfer of ${packet.length} bytes`)
    if (this.#waiting.has(packet.id)) throw spiceProtocolError(this.#place, `a second transfer ${packet.id}`)
    this.#waiting.set(packet.id, waiting)
    this.#transfers = this.#transfers.then(() => this.#transfer(waiting))
  }

  async #transfer(waiting: Waiting): Promise<void> {
    const { packet } = waiting
    if (this.#waiting.get(packet.id) !== waiting) return
    const { status, length, data } = waiting.cancelled ? ended(STATUS.cancelled) : await this.#carryOut(packet)
    if (this.#waiting.get(packet.id) !== waiting) return
    this.#waiting.delete(packet.id)
    this.#waitingBytes -= packet.data.length
    if (status === STATUS.stall) this.#control.halted.add(packet.endpoint)
    const { id, endpoint, streamId } = packet
    this.#reply({ kind: 'bulk_packet', id, endpoint, streamId, status, length, data })
  }

  async #carryOut({ endpoint, data, length }: BulkTransfer): Promise<ReturnType<typeof ended>> {
    const known = this.#device.description.endpoints.some(
      ({ address, type }) => address === endpoint && type === 'bulk',
    )
    if (!known) return ended(STATUS.inval)
    if (this.#control.halted.has(endpoint)) return ended(STATUS.stall)
    try {
      if ((endpoint & IN) === 0) {
        const taken = await this.#device.write?.(data)
        return taken ? { ...ended(STATUS.success), length: data.length } : ended(STATUS.stall)
      }
      const given = await this.#device.read?.(length)
      return given ? { status: STATUS.success, length: given.length, data: given } : ended(STATUS.stall)
    } catch {
      return ended(STATUS.ioerror)
    }
  }

  #reply(packet: Packet): void {
    // A channel that ended says so where it is read.
    this.#send(packet).catch(() => {})
  }

  async #send(packet: Packet): Promise<void> {
    const capabilities: Capabilities = this.#parser.capabilities ?? new Set()
    await this.#sendBytes(writePacket(packet, capabilities))
  }
}

function ended(status: number): { status: number; length: number; data: Uint8Array } {
  return { status, length: 0, data: EMPTY }
}
