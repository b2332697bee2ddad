import type { BlockStore } from './block-store.ts'

/** Size of a block of every disk. */
export const BLOCK_BYTES = 512

/** Operation codes of SPC-3, SBC-3 and, for format capacities, MMC. */
const OPERATION = {
  testUnitReady: 0x00,
  requestSense: 0x03,
  inquiry: 0x12,
  modeSense6: 0x1a,
  startStopUnit: 0x1b,
  preventRemoval: 0x1e,
  readFormatCapacities: 0x23,
  readCapacity10: 0x25,
  read10: 0x28,
  write10: 0x2a,
  verify10: 0x2f,
  synchronizeCache10: 0x35,
  modeSense10: 0x5a,
} as const

/** Why a command failed: sense key, additional code and its qualifier, SPC-3 section 4.5. */
type Sense = readonly [key: number, code: number, qualifier: number]
const NO_SENSE: Sense = [0, 0, 0]
const MEDIUM_READ: Sense = [3, 0x11, 0]
const MEDIUM_WRITE: Sense = [3, 0x0c, 0]
const INVALID_OPERATION: Sense = [5, 0x20, 0]
const OUT_OF_RANGE: Sense = [5, 0x21, 0]
const INVALID_FIELD: Sense = [5, 0x24, 0]

const SENSE_FIXED = 0x70
const SPC_2 = 4
const ALL_PAGES = 0x3f
const CACHING_PAGE = 0x08
const FORMATTED = 2

/** How the data of a command moves. It was refused where it is undefined. */
export type ScsiCommand =
  | { move: 'none' }
  | { move: 'reply'; data: Uint8Array }
  | { move: 'read' | 'write'; offsetBytes: number; lengthBytes: number }

/** The commands of a direct-access disk, as hosts send them to USB disks. */
export class ScsiDisk {
  readonly #store: BlockStore
  #sense = NO_SENSE
  #failure: Error | undefined

  constructor(store: BlockStore) {
    this.#store = store
  }

  /** The first error of what is behind the disk; the guest saw a medium error. */
  get failure(): Error | undefined {
    return this.#failure
  }

  /** State after power-on. */
  reset(): void {
    this.#sense = NO_SENSE
  }

  /** What a command block asks for; `undefined` when it is refused, which REQUEST SENSE explains. */
  async begin(block: Uint8Array): Promise<ScsiCommand | undefined> {
    const view = new DataView(block.buffer, block.byteOffset, block.byteLength)
    const operation = block[0]
    if (operation === OPERATION.requestSense) return this.#requestSense(block[4] as number)
    this.#sense = NO_SENSE
    switch (operation) {
      case OPERATION.testUnitReady:
      case OPERATION.startStopUnit:
      case OPERATION.preventRemoval:
        return { move: 'none' }
      case OPERATION.verify10:
        return this.#range(view) ? { move: 'none' } : undefined
      case OPERATION.inquiry:
        // Pages of vital product data: there are none.
        if (((block[1] as number) & 1) === 1) return this.#refuse(INVALID_FIELD)
        return reply(INQUIRY, view.getUint16(3))
      case OPERATION.modeSense6:
        return this.#modeSense(block, 4, block[4] as number)
      case OPERATION.modeSense10:
        return this.#modeSense(block, 8, view.getUint16(7))
      case OPERATION.readFormatCapacities:
        return reply(this.#formatCapacities(), view.getUint16(7))
      case OPERATION.readCapacity10:
        return { move: 'reply', data: this.#capacity() }
      case OPERATION.read10:
      case OPERATION.write10: {
        const range = this.#range(view)
        return range && { move: operation === OPERATION.read10 ? 'read' : 'write', ...range }
      }
      case OPERATION.synchronizeCache10:
        return (await this.#try(MEDIUM_WRITE, async () => this.#store.flush())) ? { move: 'none' } : undefined
      default:
        return this.#refuse(INVALID_OPERATION)
    }
  }

  /** Part of a read; undefined when it failed. */
  async read(offsetBytes: number, lengthBytes: number): Promise<Uint8Array | undefined> {
    let data: Uint8Array | undefined
    await this.#try(MEDIUM_READ, async () => {
      data = await this.#store.read(offsetBytes, lengthBytes)
    })
    return data
  }

  /** Part of a write; false when it failed. */
  async write(offsetBytes: number, bytes: Uint8Array): Promise<boolean> {
    return this.#try(MEDIUM_WRITE, () => this.#store.write(offsetBytes, bytes))
  }

  async #try(sense: Sense, work: () => Promise<void>): Promise<boolean> {
    try {
      await work()
      return true
    } catch (error) {
      this.#failure ??= error as Error
      this.#sense = sense
      return false
    }
  }

  #refuse(sense: Sense): undefined {
    this.#sense = sense
    return undefined
  }

  #requestSense(lengthMax: number): ScsiCommand {
    const [key, code, qualifier] = this.#sense
    this.#sense = NO_SENSE
    const data = new Uint8Array(18)
    data.set([SENSE_FIXED, 0, key, 0, 0, 0, 0, data.length - 8, 0, 0, 0, 0, code, qualifier])
    return reply(data, lengthMax)
  }

  /** Blocks of a ten-byte command, as bytes. */
  #range(view: DataView): { offsetBytes: number; lengthBytes: number } | undefined {
    const [first, count] = [view.getUint32(2), view.getUint16(7)]
    if ((first + count) * BLOCK_BYTES > this.#store.sizeBytes) return this.#refuse(OUT_OF_RANGE)
    return { offsetBytes: first * BLOCK_BYTES, lengthBytes: count * BLOCK_BYTES }
  }

  #modeSense(block: Uint8Array, headerBytes: 4 | 8, lengthMax: number): ScsiCommand | undefined {
    const page = (block[2] as number) & 0x3f
    if (page !== ALL_PAGES && page !== CACHING_PAGE && page !== 0) return this.#refuse(INVALID_FIELD)
    // No write cache: what is written is written.
    const caching = page === 0 ? new Uint8Array(0) : new Uint8Array(20)
    caching.set([CACHING_PAGE, 18].slice(0, caching.length))
    const data = new Uint8Array(headerBytes + caching.length)
    if (headerBytes === 4) data[0] = data.length - 1
    else data[1] = data.length - 2
    data.set(caching, headerBytes)
    return reply(data, lengthMax)
  }

  #capacity(): Uint8Array {
    const data = new Uint8Array(8)
    const view = new DataView(data.buffer)
    view.setUint32(0, this.#store.sizeBytes / BLOCK_BYTES - 1)
    view.setUint32(4, BLOCK_BYTES)
    return data
  }

  #formatCapacities(): Uint8Array {
    const data = new Uint8Array(12)
    const view = new DataView(data.buffer)
    data[3] = 8
    view.setUint32(4, this.#store.sizeBytes / BLOCK_BYTES)
    view.setUint32(8, BLOCK_BYTES)
    data[8] = FORMATTED
    return data
  }
}

const INQUIRY = new Uint8Array(36)
// Its medium cannot be taken out: a Linux guest would take a removable one for empty now and then, when it is new.
INQUIRY.set([0, 0, SPC_2, 2, INQUIRY.length - 5])
INQUIRY.set(new TextEncoder().encode('OCLDVIEWATP USB Disk    1.0 '), 8)

function reply(data: Uint8Array, lengthMax: number): ScsiCommand {
  return { move: 'reply', data: data.subarray(0, lengthMax) }
}
