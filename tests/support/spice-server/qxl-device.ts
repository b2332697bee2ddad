import { SpiceWriter } from '../../../framework/protocols/spice/wire/writer.ts'
import type { Qtest } from './qtest.ts'

/** Where the four memory and port ranges of each card are put; above all memory of the machine. */
const RANGES = [
  { ram: 0xc000_0000, vram: 0xe000_0000, rom: 0xf000_0000, io: 0xc000 },
  { ram: 0xd000_0000, vram: 0xe800_0000, rom: 0xf100_0000, io: 0xc100 },
] as const

/** `QXL_IO_*` */
const NOTIFY_CMD = 0
const NOTIFY_CURSOR = 1
const UPDATE_AREA = 2
const RESET = 5
const MEMSLOT_ADD = 8
const CREATE_PRIMARY = 12
const DESTROY_PRIMARY = 13
const MONITORS_CONFIG_ASYNC = 24

/** Offsets in the header of the device's memory, `struct QXLRam`. */
const CMD_RING = 4108
const CURSOR_RING = CMD_RING + 20 + 32 * 16
const RELEASE_RING = CURSOR_RING + 20 + 32 * 16
const UPDATE_RECT = RELEASE_RING + 20 + 8 * 8
const UPDATE_SURFACE = UPDATE_RECT + 16
const MEM_SLOT = UPDATE_SURFACE + 4
const CREATE_SURFACE = MEM_SLOT + 16
/** Behind the surface come flags of eight bytes. */
const MONITORS_CONFIG = CREATE_SURFACE + 40 + 8
const INTERRUPT_MASK = 8
const RING_ITEMS = 32
/** Offset in `struct QXLRom` of the monitors that a client asked for: their count, then their rectangles. */
const CLIENT_MONITORS = 132
/** `QXL_INTERRUPT_CLIENT_MONITORS_CONFIG` */
const CLIENT_MONITORS_INTERRUPT = 1 << 5

/** `QXL_CMD_*` */
export const QXL_COMMAND = { draw: 1, update: 2, cursor: 3, message: 4, surface: 5 } as const

/** `SPICE_SURFACE_FMT_*` */
export const SURFACE_FORMAT = { a1: 1, a8: 8, rgb555: 16, xrgb: 32, rgb565: 80, argb: 96 } as const

/**
 * A qxl graphics card, driven from outside in the place of a guest's driver: any picture, and any draw operation, on
 * the screen of a real SPICE server.
 *
 * What is put into its memory stays until the memory is used up; then older things are written over, which a client
 * that reads has long received.
 */
export class QxlDevice {
  readonly #qtest: Qtest
  readonly #ranges: (typeof RANGES)[number]
  readonly #header: number
  readonly #slot: bigint
  readonly #limits: { start: number; end: number }
  #next: number

  private constructor(
    qtest: Qtest,
    ranges: (typeof RANGES)[number],
    header: number,
    slot: bigint,
    limits: { start: number; end: number },
  ) {
    this.#qtest = qtest
    this.#ranges = ranges
    this.#header = header
    this.#slot = slot
    this.#limits = limits
    this.#next = limits.start
  }

  /** Finds a card on the first bus of the machine, gives it addresses and a memory slot. @param which 0 or 1. */
  static async open(qtest: Qtest, which: 0 | 1 = 0): Promise<QxlDevice> {
    const config = await findCard(qtest, which)
    const ranges = RANGES[which]
    const { ram, vram, rom: romAt, io } = ranges
    const bars = [ram, vram, romAt, io]
    for (const [index, address] of bars.entries()) await config(0x10 + index * 4, address)
    await config(4, 7)
    const rom = new DataView(Uint8Array.from(await qtest.read(romAt, 84)).buffer)
    const header = ram + rom.getUint32(44, true)
    const slotId = rom.getUint8(64)
    const generation = rom.getUint8(68)
    const slotBits = rom.getUint8(67)
    const generationBits = rom.getUint8(66)
    await qtest.out('b', io + RESET, 0)
    await qtest.write(header + MEM_SLOT, new SpiceWriter().u64(BigInt(ram)).u64(BigInt(header)).finish())
    await qtest.out('b', io + MEMSLOT_ADD, slotId)
    const slot =
      (BigInt(slotId) << BigInt(64 - slotBits)) | (BigInt(generation) << BigInt(64 - slotBits - generationBits))
    return new QxlDevice(qtest, ranges, header, slot, { start: rom.getUint32(40, true), end: header - ram })
  }

  /** Puts bytes into the card's memory; the answer is the address that its commands know them by. */
  async put(bytes: Uint8Array): Promise<bigint> {
    const aligned = (bytes.length + 63) & ~63
    if (this.#next + aligned > this.#limits.end) this.#next = this.#limits.start
    const at = this.#next
    this.#next += aligned
    if (this.#next > this.#limits.end) throw new Error(`${bytes.length} bytes are more than the card's memory`)
    await this.#qtest.write(this.#ranges.ram + at, bytes)
    return this.#slot | BigInt(at)
  }

  /** Makes surface 0, as a guest that sets a mode: black, of one of {@link SURFACE_FORMAT}. */
  async createPrimary(width: number, height: number, format: number = SURFACE_FORMAT.xrgb): Promise<void> {
    const pixelBytes = format === SURFACE_FORMAT.xrgb || format === SURFACE_FORMAT.argb ? 4 : 2
    const stride = width * pixelBytes
    if (stride * height > this.#limits.start) throw new Error(`${width}×${height} is more than the card's surface area`)
    await this.#qtest.write(this.#ranges.ram, new Uint8Array(stride * height))
    const surface = new SpiceWriter().u32(width).u32(height).i32(stride).u32(format).u32(0).u32(0).u32(0).u32(0)
    await this.#qtest.write(this.#header + CREATE_SURFACE, surface.u64(this.#slot).finish())
    await this.#qtest.out('b', this.#ranges.io + CREATE_PRIMARY, 0)
  }

  /** Takes surface 0 away again. */
  async destroyPrimary(): Promise<void> {
    await this.#qtest.out('b', this.#ranges.io + DESTROY_PRIMARY, 0)
  }

  /** Tells the server which parts of surface 0 are monitors, as a guest's driver does. */
  async setMonitors(heads: readonly { x: number; y: number; width: number; height: number }[]): Promise<void> {
    const config = new SpiceWriter().u16(heads.length).u16(heads.length)
    for (const [id, { x, y, width, height }] of heads.entries())
      config.u32(id).u32(0).u32(width).u32(height).u32(x).u32(y).u32(0)
    const at = await this.put(config.finish())
    await this.#qtest.write(this.#header + MONITORS_CONFIG, new SpiceWriter().u64(at).finish())
    await this.#qtest.out('b', this.#ranges.io + MONITORS_CONFIG_ASYNC, 0)
  }

  /** Lets clients ask for monitors, as a driver does that follows them. */
  async followClientMonitors(): Promise<void> {
    await this.#qtest.writeU32(this.#header + INTERRUPT_MASK, CLIENT_MONITORS_INTERRUPT)
  }

  /** The monitors that a client asked for. */
  async clientMonitors(): Promise<{ x: number; y: number; width: number; height: number }[]> {
    const rom = this.#ranges.rom + CLIENT_MONITORS
    const count = (await this.#qtest.readU32(rom)) & 0xffff
    const words = new DataView(Uint8Array.from(await this.#qtest.read(rom + 4, count * 16)).buffer)
    return Array.from({ length: count }, (_, index) => {
      const [top, left, bottom, right] = [0, 4, 8, 12].map((at) => words.getUint32(index * 16 + at, true)) as [
        number,
        number,
        number,
        number,
      ]
      return { x: left, y: top, width: right - left, height: bottom - top }
    })
  }

  /** Hands a command to the server: one of {@link QXL_COMMAND}, and its `struct` put into memory before. */
  async command(type: number, data: bigint): Promise<void> {
    await this.#push(CMD_RING, NOTIFY_CMD, type, data)
  }

  /** Hands a `struct QXLCursorCmd` to the server. */
  async cursorCommand(data: bigint): Promise<void> {
    await this.#push(CURSOR_RING, NOTIFY_CURSOR, QXL_COMMAND.cursor, data)
  }

  /** Waits until all commands before are drawn. */
  async finish(width: number, height: number): Promise<void> {
    const area = new SpiceWriter().i32(0).i32(0).i32(height).i32(width).u32(0)
    await this.#qtest.write(this.#header + UPDATE_RECT, area.finish())
    await this.#qtest.out('b', this.#ranges.io + UPDATE_AREA, 0)
  }

  async #push(ring: number, notify: number, type: number, data: bigint): Promise<void> {
    const base = this.#header + ring
    const produced = await this.#qtest.readU32(base + 4)
    const deadline = Date.now() + 10_000
    // The server takes commands away in a thread of its own; every look is a round trip.
    while ((produced - (await this.#qtest.readU32(base + 12))) >>> 0 >= RING_ITEMS) {
      if (Date.now() > deadline) throw new Error('the SPICE server took no command for 10 s: a client does not read')
    }
    const item = base + 20 + (produced % RING_ITEMS) * 16
    await this.#qtest.write(item, new SpiceWriter().u64(data).u32(type).u32(0).finish())
    await this.#qtest.writeU32(base + 4, produced + 1)
    await this.#qtest.out('b', this.#ranges.io + notify, 0)
    await this.#forgetReleased()
  }

  /** Takes what the server released off its ring, which would stop it when full. */
  async #forgetReleased(): Promise<void> {
    const base = this.#header + RELEASE_RING
    await this.#qtest.writeU32(base + 12, await this.#qtest.readU32(base + 4))
  }
}

/** The configuration registers of the card, as a function that writes one. */
async function findCard(qtest: Qtest, which: number): Promise<(register: number, value: number) => Promise<void>> {
  let found = 0
  for (let device = 0; device < 32; device++) {
    const select = 0x8000_0000 + device * 0x800
    await qtest.out('l', 0xcf8, select)
    if ((await qtest.in('l', 0xcfc)) !== 0x0100_1b36 || found++ < which) continue
    return async (register, value) => {
      await qtest.out('l', 0xcf8, select + register)
      await qtest.out('l', 0xcfc, value)
    }
  }
  throw new Error(`the machine has ${found} qxl cards`)
}
