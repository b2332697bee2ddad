import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isAtpError } from '../../../../framework/core/errors.ts'
import { CAPABILITY, type Capability } from '../../../../framework/protocols/spice/usb/numbers.ts'
import { OUR_CAPABILITIES, PacketParser } from '../../../../framework/protocols/spice/usb/packet-parser.ts'
import { endpointIndex, writePacket, type Packet } from '../../../../framework/protocols/spice/usb/packets.ts'
import { capabilityWords } from '../../../../framework/protocols/spice/wire/numbers.ts'

const MUTATIONS = Number(process.env['ATP_MUTATIONS'] ?? 2000)
const u8 = fc.nat(0xff)
const u16 = fc.nat(0xffff)
const id = fc.bigInt({ min: 0n, max: 0xffff_ffffn })
const named = <K extends Packet['kind'], T extends object>(kind: K, fields: { [F in keyof T]: fc.Arbitrary<T[F]> }) =>
  fc.record({ kind: fc.constant(kind), id, ...fields }) as unknown as fc.Arbitrary<Packet>
const bytes = fc.uint8Array({ maxLength: 300 })
/** Data that is there, or only announced. */
const transfer = fc.oneof(
  bytes.map((data) => ({ data, length: data.length })),
  u16.map((length) => ({ data: new Uint8Array(0), length })),
)
const withData = <K extends Packet['kind'], T extends object>(
  kind: K,
  fields: { [F in keyof T]: fc.Arbitrary<T[F]> },
) =>
  fc
    .tuple(fc.record({ kind: fc.constant(kind), id, endpoint: u8, status: u8, ...fields }), transfer)
    .map(([packet, data]) => ({ ...packet, ...data }) as unknown as Packet)

const packets: fc.Arbitrary<Packet> = fc.oneof(
  named('device_connect', {
    speed: u8,
    class: u8,
    subclass: u8,
    protocol: u8,
    vendorId: u16,
    productId: u16,
    versionBcd: u16,
  }),
  ...(['device_disconnect', 'reset', 'get_configuration', 'cancel_data_packet'] as const).map((kind) =>
    named(kind, {}),
  ),
  ...(['filter_reject', 'device_disconnect_ack'] as const).map((kind) => named(kind, {})),
  named('interface_info', {
    interfaces: fc.array(fc.record({ interface: u8, class: u8, subclass: u8, protocol: u8 }), { maxLength: 32 }),
  }),
  named('ep_info', {
    endpoints: fc.array(fc.record({ type: u8, interval: u8, interface: u8, maxPacketSize: u16 }), {
      minLength: 32,
      maxLength: 32,
    }),
  }),
  named('set_configuration', { configuration: u8 }),
  named('configuration_status', { status: u8, configuration: u8 }),
  named('set_alt_setting', { interface: u8, alt: u8 }),
  named('get_alt_setting', { interface: u8 }),
  named('alt_setting_status', { status: u8, interface: u8, alt: u8 }),
  named('start_interrupt_receiving', { endpoint: u8 }),
  named('stop_interrupt_receiving', { endpoint: u8 }),
  named('interrupt_receiving_status', { status: u8, endpoint: u8 }),
  named('filter_filter', { rules: fc.constantFrom('', '0x03,-1,-1,-1,1', '规则') }),
  withData('control_packet', { request: u8, requestType: u8, value: u16, index: u16 }),
  withData('bulk_packet', { streamId: fc.nat(0xffff_ffff) }),
  withData('interrupt_packet', {}),
)
const capabilities = fc.subarray(Object.keys(CAPABILITY) as Capability[])

/** A hello with these capabilities, and the packets behind it. */
function stream(names: readonly Capability[], all: readonly Packet[]): Uint8Array {
  const words = capabilityWords(names.map((name) => CAPABILITY[name]))
  const hello: Packet = { kind: 'hello', id: 0n, version: 'peer 1.0', capabilities: words }
  const parts = [writePacket(hello, new Set()), ...all.map((packet) => writePacket(packet, new Set(names)))]
  const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    joined.set(part, at)
    at += part.length
  }
  return joined
}

/** As it is read where some capabilities are missing. */
function seen(packet: Packet, names: readonly Capability[]): Packet {
  if (packet.kind === 'device_connect' && !names.includes('connect_device_version')) return { ...packet, versionBcd: 0 }
  if (packet.kind === 'ep_info' && !names.includes('ep_info_max_packet_size'))
    return { ...packet, endpoints: packet.endpoints.map((endpoint) => ({ ...endpoint, maxPacketSize: 0 })) }
  return packet
}

describe('usbredir packets', () => {
  it('come back as they were written, however they are cut and whatever both sides can do', () => {
    fc.assert(
      fc.property(
        capabilities,
        fc.array(packets, { maxLength: 20 }),
        fc.infiniteStream(fc.nat(200)),
        (names, all, cuts) => {
          const bytes = stream(names, all)
          const parser = new PacketParser('test')
          const read: Packet[] = []
          for (let at = 0; at < bytes.length;) {
            const size = (cuts.next().value as number) + 1
            read.push(...parser.push(bytes.slice(at, at + size)))
            at += size
          }
          expect(read[0]).toMatchObject({ kind: 'hello', version: 'peer 1.0' })
          expect(read.slice(1)).toEqual(all.map((packet) => seen(packet, names)))
          expect([...(parser.capabilities ?? [])].toSorted()).toEqual(names.toSorted())
        },
      ),
      { numRuns: Math.min(MUTATIONS, 2000) / 10 },
    )
  })

  it('have the layout of the specification', () => {
    const capabilities = new Set(['ids_64bits', 'bulk_length_32bits', 'ep_info_max_packet_size'] as const)
    const bulk: Packet = {
      kind: 'bulk_packet',
      id: 7n,
      endpoint: 0x81,
      status: 0,
      streamId: 0,
      length: 0x2_0001,
      data: new Uint8Array(0),
    }
    expect([...writePacket(bulk, capabilities)]).toEqual([
      101, 0, 0, 0, 10, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0x81, 0, 1, 0, 0, 0, 0, 0, 2, 0,
    ])
    expect(writePacket({ kind: 'ep_info', id: 0n, endpoints: [] }, capabilities)).toHaveLength(16 + 160)
    expect(writePacket({ kind: 'interface_info', id: 0n, interfaces: [] }, capabilities)).toHaveLength(16 + 132)
    expect([0, 0x80, 0x81, 0x02].map(endpointIndex)).toEqual([0, 16, 17, 2])
    expect(OUR_CAPABILITIES).toEqual([0b1111110])
  })

  it('that are not allowed are told apart', () => {
    const read = (...parts: Uint8Array[]) => {
      const parser = new PacketParser('port 1')
      return parts.flatMap((part) => [...parser.push(part)])
    }
    const hello = stream([], [])
    const reset = writePacket({ kind: 'reset', id: 0n }, new Set())
    expect(() => read(reset)).toThrow('a reset before hello')
    expect(() => read(hello, hello)).toThrow('a second hello')
    expect(() => read(hello, Uint8Array.of(102, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))).toThrow('packet of type 102')
    expect(() => read(hello, Uint8Array.of(101, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0))).toThrow('bulk_packet of 16777216')
    expect(() => read(hello, Uint8Array.of(3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9))).toThrow('1 bytes too many')
    const control = Uint8Array.of(100, 0, 0, 0, 11, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0x80, 0, 0, 0, 0, 0, 5, 0, 1)
    expect(() => read(hello, control)).toThrow('1 bytes of data where 5 are announced')
    const interfaces = new Uint8Array(12 + 132)
    interfaces.set([4, 0, 0, 0, 132, 0, 0, 0, 0, 0, 0, 0, 33])
    expect(() => read(hello, interfaces)).toThrow('33 interfaces')
  })

  it('that were changed on the way are typed errors or packets', () => {
    const place = fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true })
    const change = fc.record({
      kind: fc.constantFrom('any', 'field', 'type', 'size', 'length'),
      packet: fc.nat(4),
      place,
      value: u8,
    })
    fc.assert(
      fc.property(
        capabilities,
        fc.array(packets, { minLength: 1, maxLength: 5 }),
        fc.array(change, { minLength: 1, maxLength: 4 }),
        (names, all, changes) => {
          const parts: Uint8Array[] = all.map((packet) => writePacket(packet, new Set(names)))
          const headerBytes = names.includes('ids_64bits') ? 16 : 12
          for (const { kind, packet, place: at, value } of changes) {
            const index = packet % parts.length
            parts[index] = changed(parts[index] as Uint8Array, headerBytes, kind, at, value)
          }
          const bytes = Uint8Array.from([...stream(names, []), ...parts.flatMap((part) => [...part])])
          try {
            const read = [...new PacketParser('test').push(bytes)]
            expect(read.length).toBeLessThanOrEqual(1 + bytes.length / 12)
          } catch (error) {
            expect(isAtpError(error, 'ATP_SPICE_PROTOCOL'), String(error)).toBe(true)
          }
        },
      ),
      { numRuns: MUTATIONS },
    )
  })
})

/** All but `any` know where header and body are; `size` also tells the header of it. */
function changed(bytes: Uint8Array, headerBytes: number, kind: string, place: number, value: number): Uint8Array {
  const body = bytes.length - headerBytes
  if (kind === 'size') {
    const grown = new Uint8Array(headerBytes + Math.floor(place * (2 * body + 4))).fill(value)
    grown.set(bytes.subarray(0, grown.length))
    new DataView(grown.buffer).setUint32(4, grown.length - headerBytes, true)
    return grown
  }
  const copy = bytes.slice()
  const view = new DataView(copy.buffer)
  if (kind === 'type') view.setUint32(0, value % 30 === 0 ? value : (value % 28) + (value > 127 ? 76 : 0), true)
  else if (kind === 'length') view.setUint32(4, Math.floor(place * 2 ** (value % 33)), true)
  else if (kind === 'any') copy[Math.floor(place * copy.length)] = value
  else if (body > 0) copy[headerBytes + Math.floor(place * body)] = value
  return copy
}
