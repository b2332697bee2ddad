import { describe, expect, it } from 'vitest'
import { MassStorage, MemoryBlockStore, type BlockStore } from '../../../../framework/protocols/spice/usb/index.ts'
import { GuestSide } from './guest-side.ts'

const IN = 0x81
const OUT = 0x02
const BLOCKS = 64

/** A disk, and the host that gives it commands. */
async function plugged(store: BlockStore = new MemoryBlockStore(new Uint8Array(BLOCKS * 512))) {
  const device = new MassStorage(store)
  await device.open({})
  const guest = new GuestSide(device).begin()
  let tag = 100
  const begin = (block: number[], wanted: number, fromDevice: boolean) => {
    const bytes = new Uint8Array(31)
    const view = new DataView(bytes.buffer)
    view.setUint32(0, 0x43425355, true)
    view.setUint32(4, ++tag, true)
    view.setUint32(8, wanted, true)
    bytes[12] = fromDevice ? 0x80 : 0
    bytes[14] = block.length
    bytes.set(block, 15)
    return guest.bulk(OUT, bytes)
  }
  const status = async () => {
    const { data, status: refused } = await guest.bulk(IN, 13)
    if (refused !== 0) return { refused }
    const view = new DataView(data.buffer, data.byteOffset, 13)
    expect([view.getUint32(0, true), view.getUint32(4, true)]).toEqual([0x53425355, tag])
    return { residue: view.getUint32(8, true), status: view.getUint8(12) }
  }
  /** A command that wants something; what came, and the status. */
  const ask = async (block: number[], wanted: number) => {
    await begin(block, wanted, true)
    const { data, status: refused } = await guest.bulk(IN, wanted)
    if (refused !== 0) await guest.control(0x02, 1, { index: IN })
    return { data: [...data], refused, ...(await status()) }
  }
  /** A command that sends something, or nothing. */
  const give = async (block: number[], data = new Uint8Array(0)) => {
    await begin(block, data.length, false)
    if (data.length > 0) await guest.bulk(OUT, data)
    return status()
  }
  const sense = async () => {
    const { data } = await ask([0x03, 0, 0, 0, 18, 0], 18)
    return [data[2], data[12], data[13]]
  }
  return { device, guest, begin, status, ask, give, sense }
}
const read10 = (block: number, count: number) => [0x28, 0, 0, 0, block >> 8, block & 255, 0, 0, count, 0]
const write10 = (block: number, count: number) => [0x2a, ...read10(block, count).slice(1)]
const passed = { residue: 0, status: 0 }

describe('a USB disk', () => {
  it('says what it is', async () => {
    const { ask, give, guest } = await plugged()
    expect((await guest.control(0xa1, 0xfe, { length: 1 })).data).toEqual(Uint8Array.of(0))
    expect(await give([0x00, 0, 0, 0, 0, 0])).toEqual(passed)
    const inquiry = await ask([0x12, 0, 0, 0, 36, 0], 36)
    expect(inquiry).toMatchObject(passed)
    expect(String.fromCharCode(...inquiry.data.slice(8))).toBe('OCLDVIEWATP USB Disk    1.0 ')
    expect(await ask([0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], 8)).toMatchObject({
      data: [0, 0, 0, BLOCKS - 1, 0, 0, 2, 0],
      ...passed,
    })
    expect((await ask([0x23, 0, 0, 0, 0, 0, 0, 0, 12, 0], 12)).data).toEqual([0, 0, 0, 8, 0, 0, 0, BLOCKS, 2, 0, 2, 0])
    expect((await ask([0x1a, 0, 0x3f, 0, 192, 0], 192)).data.slice(0, 6)).toEqual([23, 0, 0, 0, 8, 18])
    expect((await ask([0x1a, 0, 0, 0, 192, 0], 192)).data).toEqual([3, 0, 0, 0])
    expect((await ask([0x5a, 0, 8, 0, 0, 0, 0, 0, 28, 0], 28)).data.slice(0, 10)).toEqual([
      0, 26, 0, 0, 0, 0, 0, 0, 8, 18,
    ])
    for (const operation of [0x1b, 0x1e, 0x35])
      expect(await give([operation, 0, 0, 0, 0, 0, 0, 0, 0, 0])).toEqual(passed)
    expect(await give([0x2f, 0, 0, 0, 0, 0, 0, 0, 1, 0])).toEqual(passed)
  })

  it('reads and writes, in as many transfers as the host likes', async () => {
    const store = new MemoryBlockStore(new Uint8Array(BLOCKS * 512).map((_, at) => at * 7))
    const { begin, status, guest, give } = await plugged(store)
    await begin(read10(3, 2), 1024, true)
    const first = await guest.bulk(IN, 700)
    const second = await guest.bulk(IN, 324)
    expect(new Uint8Array([...first.data, ...second.data])).toEqual(store.bytes.slice(3 * 512, 5 * 512))
    expect(await status()).toEqual(passed)
    const written = new Uint8Array(1024).fill(0xa5)
    expect(await give(write10(60, 2), written)).toEqual(passed)
    await begin(write10(62, 2), 1024, false)
    expect(await guest.bulk(OUT, written.slice(0, 100))).toMatchObject({ status: 0, length: 100 })
    expect(await guest.bulk(OUT, written.slice(100))).toMatchObject({ status: 0, length: 924 })
    expect(await status()).toEqual(passed)
    expect(store.bytes.slice(60 * 512)).toEqual(new Uint8Array(4 * 512).fill(0xa5))
  })

  it('refuses what it does not do, and says why', async () => {
    const { ask, give, sense } = await plugged()
    expect(await ask(read10(63, 2), 1024)).toMatchObject({ refused: 4, residue: 1024, status: 1 })
    expect(await sense()).toEqual([5, 0x21, 0])
    expect(await sense()).toEqual([0, 0, 0])
    expect(await give(write10(64, 1), new Uint8Array(512))).toEqual({ residue: 0, status: 1 })
    expect(await give([0x2f, 0, 0, 0, 0, 64, 0, 0, 1, 0])).toMatchObject({ status: 1 })
    expect(await give([0xa4, 0])).toMatchObject({ status: 1 })
    expect(await sense()).toEqual([5, 0x20, 0])
    expect(await ask([0x12, 1, 0x83, 0, 255, 0], 255)).toMatchObject({ refused: 4, status: 1 })
    expect(await sense()).toEqual([5, 0x24, 0])
    expect(await ask([0x1a, 0, 0x1c, 0, 192, 0], 192)).toMatchObject({ refused: 4, status: 1 })
    expect(await ask([0x00], 64)).toMatchObject({ refused: 4, residue: 64, status: 0 })
  })

  it('and a host that disagree about the data end in a phase error', async () => {
    const { ask, begin, give, status } = await plugged()
    expect(await ask(read10(0, 2), 512)).toMatchObject({ status: 2 })
    expect(await ask(write10(0, 1), 512)).toMatchObject({ refused: 4, status: 2 })
    expect(await give(read10(0, 1), new Uint8Array(512))).toMatchObject({ status: 2 })
    expect(await give([0x12, 0, 0, 0, 36, 0])).toMatchObject({ status: 2 })
    // But no data is no data.
    await begin(read10(0, 0), 0, true)
    expect(await status()).toEqual(passed)
  })

  it('gives less than the host wants, and is asked no further', async () => {
    const { ask } = await plugged()
    const { data, ...end } = await ask([0x12, 0, 0, 0, 255, 0], 255)
    expect(data).toHaveLength(36)
    expect(end).toEqual({ refused: 0, residue: 255 - 36, status: 0 })
    expect(await ask(read10(0, 1), 2048)).toMatchObject({ refused: 0, residue: 2048 - 512, status: 0 })
  })

  it('that took bytes for a command which are none refuses all until it is reset', async () => {
    const { guest, give, status } = await plugged()
    expect(await guest.bulk(OUT, new Uint8Array(31))).toMatchObject({ status: 4 })
    expect(await guest.control(0x02, 1, { index: OUT })).toMatchObject({ status: 0 })
    expect(await guest.bulk(OUT, new Uint8Array(31))).toMatchObject({ status: 4 })
    expect(await status()).toEqual({ refused: 4 })
    expect(await guest.control(0x21, 0xff)).toMatchObject({ status: 0 })
    for (const index of [IN, OUT]) await guest.control(0x02, 1, { index })
    expect(await give([0x00, 0, 0, 0, 0, 0])).toEqual(passed)
    // A status that nobody began, and one that has no room.
    expect(await guest.bulk(IN, 13)).toMatchObject({ status: 4 })
    guest.say({ kind: 'reset', id: 0n })
    expect(await give([0x00, 0, 0, 0, 0, 0])).toEqual(passed)
    expect(await guest.control(0x21, 0xff, { value: 1 })).toMatchObject({ status: 4 })
    expect(await guest.control(0x21, 0xfd)).toMatchObject({ status: 4 })
  })

  it('takes no more data than was announced, and gives a status only where there is room', async () => {
    const { begin, guest } = await plugged()
    await begin(write10(0, 1), 512, false)
    expect(await guest.bulk(OUT, new Uint8Array(1024))).toMatchObject({ status: 4 })
    guest.say({ kind: 'reset', id: 0n })
    await begin([0x00, 0, 0, 0, 0, 0], 0, false)
    expect(await guest.bulk(IN, 5)).toMatchObject({ status: 4 })
  })

  it('whose content cannot be reached has a medium error', async () => {
    const broken: BlockStore = {
      sizeBytes: 4096,
      read: async () => Promise.reject(new Error('cannot read')),
      write: async () => Promise.reject(new Error('cannot write')),
      flush: async () => Promise.reject(new Error('cannot flush')),
    }
    const { ask, give, sense, device } = await plugged(broken)
    expect(await ask(read10(0, 1), 512)).toMatchObject({ refused: 4, residue: 512, status: 1 })
    expect(await sense()).toEqual([3, 0x11, 0])
    expect(await give(write10(0, 1), new Uint8Array(512))).toEqual({ residue: 512, status: 1 })
    expect(await sense()).toEqual([3, 0x0c, 0])
    expect(await give([0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0])).toMatchObject({ status: 1 })
    expect(device.failure?.message).toBe('cannot read')
  })

  it('has a size that a disk can have', async () => {
    for (const sizeBytes of [0, 511, 513, 512 * 2 ** 32]) {
      const store = { sizeBytes } as BlockStore
      await expect(new MassStorage(store).open({})).rejects.toMatchObject({ code: 'ATP_SPICE_USB_STORAGE_SIZE' })
    }
  })
})
