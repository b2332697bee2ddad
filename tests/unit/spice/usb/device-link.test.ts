import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isAtpError } from '../../../../framework/core/errors.ts'
import {
  HidKeyboard,
  MassStorage,
  MemoryBlockStore,
  type UsbDevice,
} from '../../../../framework/protocols/spice/usb/index.ts'
import { GuestSide } from './guest-side.ts'

const MUTATIONS = Number(process.env['ATP_MUTATIONS'] ?? 2000)

/** A device whose bulk transfers end when the test lets them. */
class SlowDevice implements UsbDevice {
  readonly name = 'slow device'
  readonly description = {
    speed: 'high' as const,
    vendorId: 1,
    productId: 2,
    manufacturer: '厂',
    product: 'Slow',
    serialNumber: '1',
    interfaceClass: { class: 0xff, subclass: 0, protocol: 0 },
    endpoints: [
      { address: 0x81, type: 'bulk' as const, maxPacketSize: 512, interval: 0 },
      { address: 0x02, type: 'bulk' as const, maxPacketSize: 512, interval: 0 },
    ],
  }
  resets = 0
  readonly reads: PromiseWithResolvers<Uint8Array | undefined>[] = []
  control(): undefined {
    return undefined
  }
  read(): Promise<Uint8Array | undefined> {
    const read = Promise.withResolvers<Uint8Array | undefined>()
    this.reads.push(read)
    return read.promise
  }
  async write(): Promise<never> {
    throw new Error('broken')
  }
  reset(): void {
    this.resets++
  }
}

const settle = () => new Promise((resolve) => setImmediate(resolve))

describe('the link of a device', () => {
  it('says nothing before the hello, then everything in order', () => {
    const guest = new GuestSide(new HidKeyboard())
    expect(guest.heard).toEqual([])
    guest.say({ kind: 'hello', id: 0n, version: 'QEMU', capabilities: [0xff] })
    expect(guest.heard.map(({ kind }) => kind)).toEqual(['hello', 'ep_info', 'interface_info', 'device_connect'])
    const [, endpoints, interfaces, device] = guest.heard as unknown as Record<string, unknown>[]
    expect((endpoints?.['endpoints'] as { type: number }[] | undefined)?.map(({ type }) => type)).toEqual(
      Array.from({ length: 32 }, (_, index) => (index === 0 || index === 16 ? 0 : index === 17 ? 3 : 255)),
    )
    expect(interfaces?.['interfaces']).toEqual([{ interface: 0, class: 3, subclass: 1, protocol: 1 }])
    expect(device).toMatchObject({ speed: 1, vendorId: 0x1209, productId: 1, versionBcd: 0x0100 })
  })

  it('speaks to a peer that can do nothing special', async () => {
    const guest = new GuestSide(new MassStorage(new MemoryBlockStore(new Uint8Array(512))), []).begin()
    expect(await guest.next('configuration_status')).toMatchObject({ status: 0, configuration: 1 })
    expect(await guest.bulk(0x02, new Uint8Array(31))).toMatchObject({ status: 4 })
    await guest.link.disconnect()
    expect(guest.heard.at(-1)).toMatchObject({ kind: 'device_disconnect' })
  })

  it('is configured when the guest says so', async () => {
    const guest = new GuestSide(new HidKeyboard(), [])
    let configured = false
    void guest.link.configured.then(() => (configured = true))
    guest.say({ kind: 'hello', id: 0n, version: '', capabilities: [] })
    await settle()
    expect(configured).toBe(false)
    guest.say({ kind: 'set_configuration', id: 1n, configuration: 1 })
    await settle()
    expect(configured).toBe(true)
    guest.say({ kind: 'get_configuration', id: 2n })
    guest.say({ kind: 'set_configuration', id: 3n, configuration: 7 })
    guest.say({ kind: 'set_alt_setting', id: 4n, interface: 0, alt: 1 })
    guest.say({ kind: 'get_alt_setting', id: 5n, interface: 0 })
    expect(guest.heard.slice(4).map((packet) => ({ ...packet, kind: undefined }))).toMatchObject([
      { id: 1n, status: 0, configuration: 1 },
      { id: 2n, status: 0, configuration: 1 },
      { id: 3n, status: 2, configuration: 7 },
      { id: 4n, status: 2 },
      { id: 5n, status: 0, alt: 0 },
    ])
  })

  it('describes the device', async () => {
    const guest = new GuestSide(new SlowDevice()).begin()
    const descriptor = (value: number, length = 255) => guest.control(0x80, 6, { value, length })
    const device = await descriptor(0x100)
    expect([...device.data]).toEqual([18, 1, 0, 2, 0, 0, 0, 64, 1, 0, 2, 0, 0, 1, 1, 2, 3, 1])
    expect((await descriptor(0x100, 8)).data).toHaveLength(8)
    const configuration = await descriptor(0x200)
    expect(configuration).toMatchObject({ status: 0, length: 9 + 9 + 7 + 7 })
    expect([...configuration.data.subarray(0, 5)]).toEqual([9, 2, 32, 0, 1])
    expect([...(await descriptor(0x300)).data]).toEqual([4, 3, 9, 4])
    expect(new TextDecoder('utf-16le').decode((await descriptor(0x301)).data.slice(2))).toBe('厂')
    expect(await descriptor(0x309)).toMatchObject({ status: 4, length: 0 })
    expect(await descriptor(0x600)).toMatchObject({ status: 4 })
    expect(await guest.control(0x80, 0, { length: 2 })).toMatchObject({ status: 0, length: 2 })
    expect(await guest.control(0x00, 5)).toMatchObject({ status: 4 })
  })

  it('halts an endpoint that refused until the guest clears it', async () => {
    const device = new SlowDevice()
    const guest = new GuestSide(device).begin()
    const refused = guest.bulk(0x81, 512)
    await settle()
    device.reads[0]?.resolve(undefined)
    expect(await refused).toMatchObject({ status: 4, length: 0 })
    expect(await guest.bulk(0x81, 512)).toMatchObject({ status: 4 })
    expect([...(await guest.control(0x82, 0, { index: 0x81, length: 2 })).data]).toEqual([1, 0])
    expect(await guest.control(0x02, 1, { index: 0x81 })).toMatchObject({ status: 0 })
    const taken = guest.bulk(0x81, 512)
    await settle()
    device.reads[1]?.resolve(Uint8Array.of(1, 2))
    expect(await taken).toMatchObject({ status: 0, length: 2, data: Uint8Array.of(1, 2) })
    expect(await guest.control(0x02, 3, { index: 0x81 })).toMatchObject({ status: 0 })
    expect(await guest.control(0x02, 7, { index: 0x81 })).toMatchObject({ status: 4 })
    expect(await guest.bulk(0x81, 512)).toMatchObject({ status: 4 })
  })

  it('answers a transfer that broke, and one to no endpoint', async () => {
    const guest = new GuestSide(new SlowDevice()).begin()
    expect(await guest.bulk(0x02, Uint8Array.of(1))).toMatchObject({ status: 3, length: 0 })
    expect(await guest.bulk(0x05, Uint8Array.of(1))).toMatchObject({ status: 2, length: 0 })
    const interrupt = { endpoint: 0x04, status: 0, length: 1, data: Uint8Array.of(1) }
    guest.say({ kind: 'interrupt_packet', id: 9n, ...interrupt })
    expect(await guest.next('interrupt_packet')).toMatchObject({ id: 9n, status: 4 })
    guest.say({ kind: 'start_interrupt_receiving', id: 10n, endpoint: 0x81 })
    expect(await guest.next('interrupt_receiving_status')).toMatchObject({ status: 2 })
  })

  it('does transfers in order and leaves out cancelled ones', async () => {
    const device = new SlowDevice()
    const guest = new GuestSide(device).begin()
    const ids = [512, 512, 512].map((length) => guest.askBulk(0x81, length))
    await settle()
    expect(device.reads).toHaveLength(1)
    guest.say({ kind: 'cancel_data_packet', id: ids[1] as bigint })
    guest.say({ kind: 'cancel_data_packet', id: 4711n })
    device.reads[0]?.resolve(Uint8Array.of(1))
    await settle()
    device.reads[1]?.resolve(Uint8Array.of(3))
    const answers = [await guest.next('bulk_packet'), await guest.next('bulk_packet'), await guest.next('bulk_packet')]
    expect(answers.map(({ id, status }) => [id, status])).toEqual([
      [ids[0], 0],
      [ids[1], 1],
      [ids[2], 0],
    ])
    expect(device.reads).toHaveLength(2)
  })

  it('taken away in the middle of a transfer says nothing about it any more', async () => {
    const device = new SlowDevice()
    const guest = new GuestSide(device).begin()
    guest.askBulk(0x81, 512)
    await settle()
    guest.heard.length = 0
    const gone = guest.link.disconnect()
    device.reads[0]?.resolve(Uint8Array.of(1))
    // What the guest still had on its way.
    guest.askBulk(0x81, 512)
    guest.say({ kind: 'reset', id: 0n })
    await settle()
    expect(guest.heard.map(({ kind }) => kind)).toEqual(['device_disconnect'])
    guest.say({ kind: 'device_disconnect_ack', id: 0n })
    await gone
    expect(device.resets).toBe(1)
  })

  it('ends for what no guest would say', () => {
    const begun = () => new GuestSide(new SlowDevice()).begin()
    expect(() => begun().say({ kind: 'device_disconnect', id: 0n })).toThrow('a device_disconnect from the VM')
    expect(() => begun().askBulk(0x81, 1 << 24)).toThrow('a transfer of 16777216 bytes')
    expect(() => begun().say({ kind: 'filter_reject', id: 0n })).toThrow(
      expect.objectContaining({ code: 'ATP_SPICE_USB_REFUSED' }),
    )
    const flooded = begun()
    expect(() => {
      for (let n = 0; n < 2000; n++) flooded.askBulk(0x81, 512)
    }).toThrow('1024 transfers wait already')
    const heavy = begun()
    const chunk = new Uint8Array(1024 * 1024)
    expect(() => {
      for (let n = 0; n < 20; n++) heavy.askBulk(0x02, chunk)
    }).toThrow('transfers wait already')
    const twice = begun()
    const bulk = { endpoint: 0x81, status: 0, length: 1, streamId: 0, data: new Uint8Array(0) }
    twice.say({ kind: 'bulk_packet', id: 5n, ...bulk })
    expect(() => twice.say({ kind: 'bulk_packet', id: 5n, ...bulk })).toThrow('a second transfer 5')
  })

  it('survives any conversation: answers or a typed error, within bounded memory', async () => {
    const u8 = fc.nat(0xff)
    const endpoint = fc.constantFrom(0, 0x80, 0x81, 0x02, 0x05)
    const command = fc
      .tuple(
        fc.uint8Array({ minLength: 16, maxLength: 16 }),
        fc.constantFrom(0x00, 0x12, 0x1a, 0x25, 0x28, 0x2a),
        fc.nat(4096),
      )
      .map(([block, operation, wanted]) => {
        const bytes = new Uint8Array(31)
        bytes.set([0x55, 0x53, 0x42, 0x43])
        new DataView(bytes.buffer).setUint32(8, wanted, true)
        bytes[12] = (block[15] as number) & 0x80
        bytes[14] = 10
        bytes.set(block, 15)
        bytes[15] = operation
        // A disk of eight blocks: most ranges should be near it.
        bytes.fill(0, 17, 20)
        bytes[22] = 0
        return bytes
      })
    const act = fc.oneof(
      fc.record({
        kind: fc.constant('bulk' as const),
        endpoint,
        what: fc.oneof(command, fc.uint8Array(), fc.nat(4096)),
      }),
      fc.record({ kind: fc.constant('command' as const), what: command }),
      fc.record({ kind: fc.constant('status' as const) }),
      fc.record({
        kind: fc.constant('control' as const),
        fields: fc.record({ requestType: fc.constantFrom(0x80, 0x81, 0x82, 0, 2, 0x21, 0xa1, 0xff), request: u8 }),
        data: fc.record({ value: fc.nat(0xffff), index: fc.nat(0xffff), length: fc.nat(0xffff) }),
      }),
      fc.constantFrom({ kind: 'reset' as const }, { kind: 'set_configuration' as const, configuration: 1 }),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(act, { maxLength: 20 }), async (acts) => {
        const store = new MemoryBlockStore(new Uint8Array(8 * 512))
        const guest = new GuestSide(new MassStorage(store)).begin()
        let asked = 0
        try {
          for (const each of acts) {
            if (each.kind === 'bulk') guest.askBulk(each.endpoint, each.what)
            else if (each.kind === 'command') guest.askBulk(0x02, each.what)
            else if (each.kind === 'status') guest.askBulk(0x81, 13)
            else if (each.kind === 'control')
              void guest.control(each.fields.requestType, each.fields.request, each.data)
            else guest.say({ ...each, id: 0n } as never)
            if (['bulk', 'command', 'status'].includes(each.kind)) asked++
          }
          await settle()
          const answers = guest.heard.filter(({ kind }) => kind === 'bulk_packet')
          expect(answers).toHaveLength(asked)
          expect(store.bytes).toHaveLength(8 * 512)
        } catch (error) {
          expect(isAtpError(error), String(error)).toBe(true)
        }
      }),
      { numRuns: MUTATIONS / 4 },
    )
  })
})
