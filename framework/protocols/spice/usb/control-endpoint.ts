import { standardDescriptor } from './descriptors.ts'
import type { ControlRequest, UsbDevice } from './device.ts'
import { IN, REQUEST } from './numbers.ts'

const TYPE_MASK = 0x60
const RECIPIENT_MASK = 0x1f
const TO_DEVICE = 0
const TO_ENDPOINT = 2
const ENDPOINT_HALT = 0

/** Answers what every device is asked, and keeps which endpoints are halted. */
export class ControlEndpoint {
  readonly #device: UsbDevice
  /** Addresses of endpoints that refuse everything until the guest clears them. */
  readonly halted = new Set<number>()

  constructor(device: UsbDevice) {
    this.#device = device
  }

  /** What the device answers, at most what is wanted; `undefined` when it refuses. */
  answer(request: ControlRequest): Uint8Array | undefined {
    const reply = this.#standard(request) ?? this.#device.control(request)
    return reply?.subarray(0, request.length)
  }

  #standard(request: ControlRequest): Uint8Array | undefined {
    if ((request.requestType & TYPE_MASK) !== 0) return undefined
    const recipient = request.requestType & RECIPIENT_MASK
    const fromDevice = (request.requestType & IN) !== 0
    if (request.request === REQUEST.getDescriptor && fromDevice && recipient === TO_DEVICE) {
      return standardDescriptor(this.#device.description, request)
    }
    if (request.request === REQUEST.getStatus && fromDevice) {
      return Uint8Array.of(recipient === TO_ENDPOINT && this.halted.has(request.index & 0xff) ? 1 : 0, 0)
    }
    if (recipient !== TO_ENDPOINT || request.value !== ENDPOINT_HALT) return undefined
    if (request.request === REQUEST.clearFeature) this.halted.delete(request.index & 0xff)
    else if (request.request === REQUEST.setFeature) this.halted.add(request.index & 0xff)
    else return undefined
    return new Uint8Array(0)
  }
}
