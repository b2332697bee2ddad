import type { CallOptions } from '../../../core/deadline.ts'

/** One endpoint besides the control endpoint. */
export interface EndpointDescription {
  /** Number, with 0x80 for one from the device. */
  address: number
  type: 'bulk' | 'interrupt'
  maxPacketSize: number
  /** `bInterval`: milliseconds at full speed. 0 for bulk. */
  interval: number
}

/** What a device says of itself: enough for all its descriptors. It has one configuration with one interface. */
export interface DeviceDescription {
  speed: 'full' | 'high'
  vendorId: number
  productId: number
  manufacturer: string
  product: string
  serialNumber: string
  interfaceClass: { class: number; subclass: number; protocol: number }
  endpoints: readonly EndpointDescription[]
  /** Descriptors of the class, between those of interface and endpoints. */
  classDescriptors?: readonly Uint8Array[]
}

/** A request to the control endpoint, USB 2.0 section 9.3. */
export interface ControlRequest {
  /** `bmRequestType` */
  requestType: number
  /** `bRequest` */
  request: number
  value: number
  index: number
  /** Bytes wanted, or sent. */
  length: number
  /** What the guest sent; empty where it wants something. */
  data: Uint8Array
}

/** Sends one report of an interrupt endpoint; resolves when it was handed to the VM. */
export type InterruptSink = (report: Uint8Array) => Promise<void>

/** A USB device made in software. The connection to the guest calls it; one device is in one port at a time. */
export interface UsbDevice {
  /** What it is, for messages and steps: `keyboard`, `mouse`, `storage`. */
  readonly name: string
  readonly description: DeviceDescription
  /**
   * Answers a request of its class, and for descriptors that belong to it. Bytes beyond what is wanted are cut.
   * `undefined` refuses it.
   */
  control(request: ControlRequest): Uint8Array | undefined
  /** Takes data of a bulk transfer. `undefined` refuses it until the guest clears the endpoint; throwing breaks it. */
  write?(data: Uint8Array): Promise<true | undefined>
  /** Gives at most so many bytes for a bulk transfer. `undefined` refuses it until the guest clears the endpoint. */
  read?(lengthBytes: number): Promise<Uint8Array | undefined>
  /** The guest asks for reports from now on; `undefined`: no more. */
  onInterrupt?(sink: InterruptSink | undefined): void
  /** Back to the state after power-on: it was plugged in, or the guest reset it. */
  reset(): void
  /** Before it is plugged in, and after it was pulled out. */
  open?(options: CallOptions): Promise<void>
  close?(): Promise<void>
}
