import type { CallOptions } from '../../../core/deadline.ts'
import { SpiceReader } from '../wire/reader.ts'
import { SpiceWriter } from '../wire/writer.ts'
import type { BlockStore } from './block-store.ts'
import type { ControlRequest, DeviceDescription, UsbDevice } from './device.ts'
import { storageSizeError } from './errors.ts'
import { BLOCK_BYTES, ScsiDisk, type ScsiCommand } from './scsi.ts'

const STORAGE_CLASS = 8
const SCSI_SUBCLASS = 6
const BULK_ONLY_PROTOCOL = 0x50
/** Bulk-Only Transport 1.0, section 3. */
const RESET = { requestType: 0x21, request: 0xff }
const GET_MAX_LUN = { requestType: 0xa1, request: 0xfe }
/** Command and status wrappers, section 5. */
const COMMAND_SIGNATURE = 0x43425355
const STATUS_SIGNATURE = 0x53425355
const COMMAND_BYTES = 31
const STATUS_BYTES = 13
const FROM_DEVICE = 0x80
const COMMAND_STATUS = { passed: 0, failed: 1, phaseError: 2 } as const
const BLOCKS_MAX = 0xffff_ffff

/** A command whose wrapper came and whose status was not read. */
interface Running {
  tag: number
  fromDevice: boolean
  /** Bytes that the host still wants to move; what is left at the end is the residue. */
  wanted: number
  /** What the device has for it; undefined: nothing (more). */
  data: ScsiCommand | undefined
  /** The host knows that no more data comes. */
  dataOver: boolean
  status: number
}

/** A USB disk with something behind it: mass storage, bulk-only transport, SCSI commands. */
export class MassStorage<S extends BlockStore = BlockStore> implements UsbDevice {
  readonly name = 'storage'
  readonly store: S
  readonly description: DeviceDescription = {
    speed: 'high',
    vendorId: 0x1209,
    productId: 3,
    manufacturer: 'OCloudView',
    product: 'ATP USB Disk',
    serialNumber: '4154500000000001',
    interfaceClass: { class: STORAGE_CLASS, subclass: SCSI_SUBCLASS, protocol: BULK_ONLY_PROTOCOL },
    endpoints: [
      { address: 0x81, type: 'bulk', maxPacketSize: 512, interval: 0 },
      { address: 0x02, type: 'bulk', maxPacketSize: 512, interval: 0 },
    ],
  }
  readonly #disk: ScsiDisk
  #running: Running | undefined
  /** Something came that is no command: everything is refused until the host resets the device. */
  #confused = false

  constructor(store: S) {
    this.store = store
    this.#disk = new ScsiDisk(store)
  }

  /** The first error of what is behind the disk; the guest saw a medium error. */
  get failure(): Error | undefined {
    return this.#disk.failure
  }

  /** @throws `ATP_SPICE_USB_STORAGE_SIZE`, what the store's `open` throws. */
  async open(options: CallOptions): Promise<void> {
    await this.store.open?.(options)
    const { sizeBytes } = this.store
    const blocks = sizeBytes / BLOCK_BYTES
    if (Number.isInteger(blocks) && blocks > 0 && blocks <= BLOCKS_MAX) return
    throw storageSizeError(sizeBytes, BLOCK_BYTES)
  }

  async close(): Promise<void> {
    await this.store.close?.()
  }

  reset(): void {
    this.#running = undefined
    this.#confused = false
    this.#disk.reset()
  }

  control({ requestType, request, value, index }: ControlRequest): Uint8Array | undefined {
    if (value !== 0 || index !== 0) return undefined
    if (requestType === GET_MAX_LUN.requestType && request === GET_MAX_LUN.request) return Uint8Array.of(0)
    if (requestType !== RESET.requestType || request !== RESET.request) return undefined
    this.#running = undefined
    this.#confused = false
    return new Uint8Array(0)
  }

  async write(data: Uint8Array): Promise<true | undefined> {
    if (this.#confused) return undefined
    const running = this.#running
    if (!running) return this.#command(data)
    if (running.fromDevice || data.length > running.wanted) return this.#confuse()
    running.wanted -= data.length
    const { data: range } = running
    if (range?.move !== 'write') return true
    const taken = data.subarray(0, range.lengthBytes)
    running.data = behind(range, taken.length)
    if (await this.#disk.write(range.offsetBytes, taken)) return true
    fail(running)
    // It is not there.
    running.wanted += taken.length
    return true
  }

  async read(lengthBytes: number): Promise<Uint8Array | undefined> {
    if (this.#confused) return undefined
    const running = this.#running
    if (!running) return this.#confuse()
    if (!running.fromDevice || running.wanted === 0 || running.dataOver) return this.#finish(running, lengthBytes)
    const data = await this.#take(running, Math.min(lengthBytes, running.wanted))
    running.dataOver = data === undefined || data.length < lengthBytes
    running.wanted -= data?.length ?? 0
    return data
  }

  async #command(bytes: Uint8Array): Promise<true | undefined> {
    if (bytes.length !== COMMAND_BYTES) return this.#confuse()
    const reader = new SpiceReader(bytes, 'a command block wrapper')
    const [signature, tag, wanted, flags] = [reader.u32(), reader.u32(), reader.u32(), reader.u8()]
    const [unit, blockBytes] = [reader.u8(), reader.u8()]
    if (signature !== COMMAND_SIGNATURE || unit !== 0 || blockBytes < 1 || blockBytes > 16) return this.#confuse()
    // Fields behind the end of a short command are zero.
    const block = new Uint8Array(16)
    block.set(reader.bytes(blockBytes))
    const fromDevice = (flags & FROM_DEVICE) !== 0
    const data = await this.#disk.begin(block)
    const running: Running = { tag, fromDevice, wanted, data, dataOver: false, status: COMMAND_STATUS.passed }
    this.#running = running
    if (!data) running.status = COMMAND_STATUS.failed
    else if (disagree(data, running)) {
      running.status = COMMAND_STATUS.phaseError
      running.data = undefined
    }
    return true
  }

  /** The next bytes for the host; undefined when there are none, or they cannot be read. */
  async #take(running: Running, lengthBytes: number): Promise<Uint8Array | undefined> {
    const source = running.data
    if (source?.move === 'reply') {
      const data = source.data.subarray(0, lengthBytes)
      const rest = source.data.subarray(data.length)
      running.data = rest.length > 0 ? { ...source, data: rest } : undefined
      return data
    }
    if (source?.move !== 'read') return undefined
    const data = await this.#disk.read(source.offsetBytes, Math.min(lengthBytes, source.lengthBytes))
    if (data) running.data = behind(source, data.length)
    else fail(running)
    return data
  }

  #finish({ tag, wanted, status }: Running, lengthBytes: number): Uint8Array | undefined {
    if (lengthBytes < STATUS_BYTES) return this.#confuse()
    this.#running = undefined
    return new SpiceWriter(STATUS_BYTES).u32(STATUS_SIGNATURE).u32(tag).u32(wanted).u8(status).finish()
  }

  #confuse(): undefined {
    this.#confused = true
    this.#running = undefined
    return undefined
  }
}

/** The host's and the device's idea of where data goes and how much differ so that the host would lose some. */
function disagree(data: ScsiCommand, { fromDevice, wanted }: Running): boolean {
  if (data.move === 'none') return false
  if (data.move === 'reply') return data.data.length > 0 && (!fromDevice || wanted === 0)
  return data.lengthBytes > 0 && (fromDevice !== (data.move === 'read') || wanted < data.lengthBytes)
}

/** What is left of a range. */
function behind(range: Extract<ScsiCommand, { offsetBytes: number }>, doneBytes: number): ScsiCommand | undefined {
  const lengthBytes = range.lengthBytes - doneBytes
  return lengthBytes > 0 ? { ...range, offsetBytes: range.offsetBytes + doneBytes, lengthBytes } : undefined
}

/** Nothing more moves. */
function fail(running: Running): void {
  running.data = undefined
  running.status = COMMAND_STATUS.failed
}
