import { interrupted, sleep, withDeadline, type CallOptions } from '../../../core/deadline.ts'
import { isAtpError } from '../../../core/errors.ts'
import { SpiceWriter } from '../wire/writer.ts'
import type { ControlRequest, DeviceDescription, InterruptSink, UsbDevice } from './device.ts'
import { unpluggedError, unreadError } from './errors.ts'
import { DESCRIPTOR, REQUEST } from './numbers.ts'

const HID_1_11 = 0x0111
const HID_CLASS = 3
const BOOT_SUBCLASS = 1
const ENDPOINT = 0x81
/** `bmRequestType` of class requests to the interface, from it and to it, and of its descriptors. */
const FROM_INTERFACE = 0xa1
const TO_INTERFACE = 0x21
const DESCRIPTOR_OF_INTERFACE = 0x81
/** HID 1.11, section 7.2. */
const HID_REQUEST = { getReport: 1, getIdle: 2, getProtocol: 3, setReport: 9, setIdle: 10, setProtocol: 11 } as const
const REPORT_MS = 10_000
/**
 * Least time between reports. A Linux guest under software emulation takes one every 2 ms; QEMU keeps 2000 for it and
 * drops more without a word.
 */
const GAP_MS = 4
/**
 * How long the guest must have been quiet before the first report. Linux drops what comes while it still gets to know
 * the device, and for 50 ms after its driver began to ask; nothing on the wire tells when that is over.
 */
const QUIET_MS = 500

export interface HidDescription {
  name: string
  product: string
  productId: number
  /** `bInterfaceProtocol`: 1 keyboard, 2 mouse. */
  protocol: 1 | 2
  reportDescriptor: Uint8Array
  reportBytes: number
}

/** A human interface device at full speed with one kind of report, that also speaks the boot protocol. */
export abstract class HidDevice implements UsbDevice {
  readonly name: string
  readonly description: DeviceDescription
  readonly #hidDescriptor: Uint8Array
  readonly #reportDescriptor: Uint8Array
  #plugged = false
  /** A report was sent since the guest began to ask. */
  #known = false
  #sink: InterruptSink | undefined
  #asked = newAsked()
  #turn: Promise<unknown> = Promise.resolve()
  #sentAtMs = -Infinity
  #spokeAtMs = -Infinity
  #idle = 0
  #protocol = 1

  constructor(hid: HidDescription) {
    const { reportDescriptor } = hid
    this.name = hid.name
    this.#reportDescriptor = reportDescriptor
    const lead = new SpiceWriter(9).u8(9).u8(DESCRIPTOR.hid).u16(HID_1_11).u8(0).u8(1)
    this.#hidDescriptor = lead.u8(DESCRIPTOR.report).u16(reportDescriptor.length).finish()
    this.description = {
      speed: 'full',
      // pid.codes' vendor number, with product numbers that it keeps for tests.
      vendorId: 0x1209,
      productId: hid.productId,
      manufacturer: 'OCloudView',
      product: hid.product,
      serialNumber: 'ATP',
      interfaceClass: { class: HID_CLASS, subclass: BOOT_SUBCLASS, protocol: hid.protocol },
      endpoints: [{ address: ENDPOINT, type: 'interrupt', maxPacketSize: hid.reportBytes, interval: 1 }],
      classDescriptors: [this.#hidDescriptor],
    }
  }

  control({ requestType, request, value, data }: ControlRequest): Uint8Array | undefined {
    if (!this.#known) this.#spokeAtMs = performance.now()
    if (requestType === DESCRIPTOR_OF_INTERFACE && request === REQUEST.getDescriptor) {
      if (value >>> 8 === DESCRIPTOR.report) return this.#reportDescriptor
      return value >>> 8 === DESCRIPTOR.hid ? this.#hidDescriptor : undefined
    }
    if (requestType === FROM_INTERFACE) {
      if (request === HID_REQUEST.getReport) return this.currentReport()
      if (request === HID_REQUEST.getIdle) return Uint8Array.of(this.#idle)
      return request === HID_REQUEST.getProtocol ? Uint8Array.of(this.#protocol) : undefined
    }
    if (requestType !== TO_INTERFACE) return undefined
    if (request === HID_REQUEST.setReport) this.onOutput(data)
    else if (request === HID_REQUEST.setIdle) this.#idle = value >>> 8
    else if (request === HID_REQUEST.setProtocol) this.#protocol = value & 1
    else return undefined
    return new Uint8Array(0)
  }

  onInterrupt(sink: InterruptSink | undefined): void {
    this.#sink = sink
    this.#known = false
    this.#spokeAtMs = performance.now()
    if (!sink) return
    this.#asked.resolve(sink)
    this.#asked = newAsked()
  }

  async open(): Promise<void> {
    this.#plugged = true
  }

  async close(): Promise<void> {
    this.#plugged = false
    this.#asked.reject(unpluggedError(this.name))
    this.#asked = newAsked()
  }

  reset(): void {
    this.#idle = 0
    this.#protocol = 1
  }

  /** Where the next report goes, as soon as it may. */
  async #quiet(stop: AbortSignal): Promise<InterruptSink> {
    for (;;) {
      if (!this.#sink) await this.#asked.promise
      const atMs = this.#known ? this.#sentAtMs + GAP_MS : this.#spokeAtMs + QUIET_MS
      const restMs = atMs - performance.now()
      // It may have been asked no more, or spoken to, meanwhile.
      if (restMs > 0) await sleep(restMs, stop)
      else if (stop.aborted) throw interrupted(`a report of the ${this.name}`, stop)
      else if (this.#sink) return this.#sink
    }
  }

  /** What the device would report now. */
  protected abstract currentReport(): Uint8Array

  /** The guest sent an output report. */
  protected onOutput(_report: Uint8Array): void {}

  /**
   * Sends one report after those before it. `report` is called when it is its turn. Resolves when the report was
   * handed to the VM, whose guest takes it within a few milliseconds.
   *
   * @throws `ATP_SPICE_USB_UNREAD` when nothing in the guest asks for it within `timeoutMs` (default 10 s),
   *   `ATP_SPICE_USB_UNPLUGGED`, `ATP_SPICE_CLOSED`, `ATP_INTERRUPTED`. It is not sent then.
   */
  protected send(report: () => Uint8Array, { signal, timeoutMs = REPORT_MS }: CallOptions): Promise<void> {
    const before = this.#turn
    const done = withDeadline(`a report of the ${this.name}`, { signal, timeoutMs }, async (stop) => {
      await before
      if (!this.#plugged) throw unpluggedError(this.name)
      const sink = await this.#quiet(stop)
      this.#known = true
      this.#sentAtMs = performance.now()
      await sink(report())
    }).catch((error: unknown) => {
      throw isAtpError(error, 'ATP_TIMEOUT') ? unreadError(this.name, timeoutMs, error) : error
    })
    this.#turn = done.catch(() => {})
    return done
  }
}

/** Settles when the guest asks for reports, or the device is pulled out. */
function newAsked(): PromiseWithResolvers<InterruptSink> {
  const asked = Promise.withResolvers<InterruptSink>()
  asked.promise.catch(() => {})
  return asked
}
