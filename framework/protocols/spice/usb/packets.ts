import type { SpiceReader } from '../wire/reader.ts'
import { SpiceWriter } from '../wire/writer.ts'
import { ENDPOINT_TYPE, PACKET, type Capability, type PacketKind } from './numbers.ts'

/** Capabilities that both sides have. */
export type Capabilities = ReadonlySet<Capability>

/** One of the 32 endpoints of `ep_info`; its address follows from its place, see {@link endpointIndex}. */
export interface EndpointInfo {
  /** `usb_redir_type_*` */
  type: number
  interval: number
  interface: number
  maxPacketSize: number
}

interface InterfaceInfo {
  interface: number
  class: number
  subclass: number
  protocol: number
}

interface DeviceConnect {
  speed: number
  class: number
  subclass: number
  protocol: number
  vendorId: number
  productId: number
  /** Sent where both sides have `connect_device_version`. */
  versionBcd: number
}

/** What data packets share. To ask for data, `length` says how much and `data` is empty. */
interface Transfer {
  endpoint: number
  /** `usb_redir_status` */
  status: number
  /** Bytes wanted, taken or sent. */
  length: number
  data: Uint8Array
}

export type ControlTransfer = Transfer & { request: number; requestType: number; value: number; index: number }
export type BulkTransfer = Transfer & { streamId: number }

/** The fields of each kind of packet, as the specification names them. */
interface PacketFields {
  hello: { version: string; capabilities: readonly number[] }
  device_connect: DeviceConnect
  device_disconnect: object
  reset: object
  interface_info: { interfaces: readonly InterfaceInfo[] }
  ep_info: { endpoints: readonly EndpointInfo[] }
  set_configuration: { configuration: number }
  get_configuration: object
  configuration_status: { status: number; configuration: number }
  set_alt_setting: { interface: number; alt: number }
  get_alt_setting: { interface: number }
  alt_setting_status: { status: number; interface: number; alt: number }
  start_interrupt_receiving: { endpoint: number }
  stop_interrupt_receiving: { endpoint: number }
  interrupt_receiving_status: { status: number; endpoint: number }
  cancel_data_packet: object
  filter_reject: object
  filter_filter: { rules: string }
  device_disconnect_ack: object
  control_packet: ControlTransfer
  bulk_packet: BulkTransfer
  interrupt_packet: Transfer
}

/** One packet. `id` pairs a question with its answer. */
export type Packet = { [K in PacketKind]: { kind: K; id: bigint } & PacketFields[K] }[PacketKind]

const VERSION_BYTES = 64
const ENDPOINTS = 32
const INTERFACES_MAX = 32

/** Where `ep_info` has an endpoint: those to the device first, then those from it. */
export function endpointIndex(address: number): number {
  return ((address & 0x80) >> 3) | (address & 0x0f)
}

/** The kind of packet with this number, if devices made in software take part in it. */
export function packetKindOf(type: number): PacketKind | undefined {
  return (Object.keys(PACKET) as PacketKind[]).find((kind) => PACKET[kind] === type)
}

/**
 * Reads the body of a packet, all of it.
 *
 * @throws `ATP_SPICE_PROTOCOL`
 */
export function readPacket(kind: PacketKind, id: bigint, reader: SpiceReader, capabilities: Capabilities): Packet {
  const packet = { kind, id, ...readFields(kind, reader, capabilities) } as Packet
  reader.end()
  return packet
}

function readFields(kind: PacketKind, reader: SpiceReader, capabilities: Capabilities): PacketFields[PacketKind] {
  switch (kind) {
    case 'hello': {
      const version = reader.text(VERSION_BYTES)
      const words = reader.remaining >>> 2
      return { version, capabilities: Array.from({ length: words }, () => reader.u32()) }
    }
    case 'device_connect':
      return {
        speed: reader.u8(),
        class: reader.u8(),
        subclass: reader.u8(),
        protocol: reader.u8(),
        vendorId: reader.u16(),
        productId: reader.u16(),
        versionBcd: capabilities.has('connect_device_version') ? reader.u16() : 0,
      }
    case 'interface_info':
      return { interfaces: readInterfaces(reader) }
    case 'ep_info':
      return { endpoints: readEndpoints(reader, capabilities) }
    case 'set_configuration':
      return { configuration: reader.u8() }
    case 'configuration_status':
      return { status: reader.u8(), configuration: reader.u8() }
    case 'set_alt_setting':
      return { interface: reader.u8(), alt: reader.u8() }
    case 'get_alt_setting':
      return { interface: reader.u8() }
    case 'alt_setting_status':
      return { status: reader.u8(), interface: reader.u8(), alt: reader.u8() }
    case 'start_interrupt_receiving':
    case 'stop_interrupt_receiving':
      return { endpoint: reader.u8() }
    case 'interrupt_receiving_status':
      return { status: reader.u8(), endpoint: reader.u8() }
    case 'filter_filter':
      return { rules: reader.text(reader.remaining) }
    case 'control_packet':
    case 'bulk_packet':
    case 'interrupt_packet':
      return readTransfer(kind, reader, capabilities)
    case 'device_disconnect':
    case 'reset':
    case 'get_configuration':
    case 'cancel_data_packet':
    case 'filter_reject':
    case 'device_disconnect_ack':
      return {}
  }
}

function readTransfer(
  kind: 'control_packet' | 'bulk_packet' | 'interrupt_packet',
  reader: SpiceReader,
  capabilities: Capabilities,
): Transfer {
  const endpoint = reader.u8()
  if (kind === 'control_packet') {
    const [request, requestType, status] = [reader.u8(), reader.u8(), reader.u8()]
    const [value, index, length] = [reader.u16(), reader.u16(), reader.u16()]
    return { endpoint, request, requestType, status, value, index, length, data: readData(reader, length) } as Transfer
  }
  const status = reader.u8()
  let length = reader.u16()
  if (kind === 'interrupt_packet') return { endpoint, status, length, data: readData(reader, length) }
  const streamId = reader.u32()
  if (capabilities.has('bulk_length_32bits')) length += reader.u16() * 0x1_0000
  return { endpoint, status, length, streamId, data: readData(reader, length) } as Transfer
}

/** All of the data, or none: then the length says how much is wanted or was taken. */
function readData(reader: SpiceReader, length: number): Uint8Array {
  const { remaining } = reader
  if (remaining !== 0 && remaining !== length) {
    throw reader.error(`${remaining} bytes of data where ${length} are announced`)
  }
  return reader.rest()
}

function readInterfaces(reader: SpiceReader): InterfaceInfo[] {
  const count = reader.u32()
  if (count > INTERFACES_MAX) throw reader.error(`${count} interfaces`)
  const [numbers, classes, subclasses, protocols] = [0, 1, 2, 3].map(() => reader.bytes(INTERFACES_MAX))
  return Array.from({ length: count }, (_, index) => ({
    interface: numbers?.[index] as number,
    class: classes?.[index] as number,
    subclass: subclasses?.[index] as number,
    protocol: protocols?.[index] as number,
  }))
}

function readEndpoints(reader: SpiceReader, capabilities: Capabilities): EndpointInfo[] {
  const [types, intervals, interfaces] = [0, 1, 2].map(() => reader.bytes(ENDPOINTS))
  const sized = capabilities.has('ep_info_max_packet_size')
  return Array.from({ length: ENDPOINTS }, (_, index) => ({
    type: types?.[index] as number,
    interval: intervals?.[index] as number,
    interface: interfaces?.[index] as number,
    maxPacketSize: sized ? reader.u16() : 0,
  }))
}

/** A packet as it goes over the wire, with its header. A hello's id always has 32 bits. */
export function writePacket(packet: Packet, capabilities: Capabilities): Uint8Array<ArrayBuffer> {
  const body = new SpiceWriter(256)
  writeFields(body, packet, capabilities)
  const wide = packet.kind !== 'hello' && capabilities.has('ids_64bits')
  const writer = new SpiceWriter(16 + body.length).u32(PACKET[packet.kind]).u32(body.length)
  if (wide) writer.u64(packet.id)
  else writer.u32(Number(packet.id))
  return writer.bytes(body.finish()).finish()
}

function writeFields(writer: SpiceWriter, packet: Packet, capabilities: Capabilities): void {
  switch (packet.kind) {
    case 'hello': {
      const version = new Uint8Array(VERSION_BYTES)
      new TextEncoder().encodeInto(packet.version, version.subarray(0, -1))
      writer.bytes(version)
      for (const word of packet.capabilities) writer.u32(word)
      return
    }
    case 'device_connect':
      writer.u8(packet.speed).u8(packet.class).u8(packet.subclass).u8(packet.protocol)
      writer.u16(packet.vendorId).u16(packet.productId)
      if (capabilities.has('connect_device_version')) writer.u16(packet.versionBcd)
      return
    case 'interface_info': {
      writer.u32(packet.interfaces.length)
      for (const field of ['interface', 'class', 'subclass', 'protocol'] as const) {
        for (let index = 0; index < INTERFACES_MAX; index++) writer.u8(packet.interfaces[index]?.[field] ?? 0)
      }
      return
    }
    case 'ep_info':
      writeEndpoints(writer, packet.endpoints, capabilities)
      return
    case 'set_configuration':
      writer.u8(packet.configuration)
      return
    case 'configuration_status':
      writer.u8(packet.status).u8(packet.configuration)
      return
    case 'set_alt_setting':
      writer.u8(packet.interface).u8(packet.alt)
      return
    case 'get_alt_setting':
      writer.u8(packet.interface)
      return
    case 'alt_setting_status':
      writer.u8(packet.status).u8(packet.interface).u8(packet.alt)
      return
    case 'start_interrupt_receiving':
    case 'stop_interrupt_receiving':
      writer.u8(packet.endpoint)
      return
    case 'interrupt_receiving_status':
      writer.u8(packet.status).u8(packet.endpoint)
      return
    case 'filter_filter':
      writer.text(packet.rules).u8(0)
      return
    case 'control_packet':
      writer.u8(packet.endpoint).u8(packet.request).u8(packet.requestType).u8(packet.status)
      writer.u16(packet.value).u16(packet.index).u16(packet.length).bytes(packet.data)
      return
    case 'bulk_packet':
      writer.u8(packet.endpoint).u8(packet.status)
      if (capabilities.has('bulk_length_32bits')) {
        writer
          .u16(packet.length & 0xffff)
          .u32(packet.streamId)
          .u16(Math.floor(packet.length / 0x1_0000))
      } else writer.u16(packet.length).u32(packet.streamId)
      writer.bytes(packet.data)
      return
    case 'interrupt_packet':
      writer.u8(packet.endpoint).u8(packet.status).u16(packet.length).bytes(packet.data)
      return
    default:
  }
}

function writeEndpoints(writer: SpiceWriter, endpoints: readonly EndpointInfo[], capabilities: Capabilities): void {
  const none: EndpointInfo = { type: ENDPOINT_TYPE.invalid, interval: 0, interface: 0, maxPacketSize: 0 }
  const all = Array.from({ length: ENDPOINTS }, (_, index) => endpoints[index] ?? none)
  for (const field of ['type', 'interval', 'interface'] as const) for (const each of all) writer.u8(each[field])
  if (capabilities.has('ep_info_max_packet_size')) for (const { maxPacketSize } of all) writer.u16(maxPacketSize)
}
