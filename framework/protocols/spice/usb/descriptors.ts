import { SpiceWriter } from '../wire/writer.ts'
import type { ControlRequest, DeviceDescription } from './device.ts'
import { DESCRIPTOR, ENDPOINT_TYPE } from './numbers.ts'

const USB_2_0 = 0x0200
const CONTROL_PACKET_BYTES = 64
const DEVICE_VERSION = 0x0100
const BUS_POWERED = 0x80
/** In units of 2 mA. */
const MAX_POWER = 50
const ENGLISH = 0x0409
/** The number of the one configuration. */
export const CONFIGURATION = 1

/** The version of every device, binary-coded decimal. */
export const VERSION_BCD = DEVICE_VERSION

/** A standard descriptor, USB 2.0 section 9.6; undefined when the device has none of this kind. */
export function standardDescriptor(device: DeviceDescription, { value }: ControlRequest): Uint8Array | undefined {
  const [type, index] = [value >>> 8, value & 0xff]
  if (type === DESCRIPTOR.device) return deviceDescriptor(device)
  if (type === DESCRIPTOR.configuration && index === 0) return configurationDescriptor(device)
  if (type === DESCRIPTOR.string) return stringDescriptor(device, index)
  return undefined
}

function deviceDescriptor({ vendorId, productId }: DeviceDescription): Uint8Array {
  const classes = new SpiceWriter(18).u8(18).u8(DESCRIPTOR.device).u16(USB_2_0).u8(0).u8(0).u8(0)
  const ids = classes.u8(CONTROL_PACKET_BYTES).u16(vendorId).u16(productId).u16(DEVICE_VERSION)
  return ids.u8(1).u8(2).u8(3).u8(1).finish()
}

function configurationDescriptor({ interfaceClass, endpoints, classDescriptors = [] }: DeviceDescription): Uint8Array {
  const writer = new SpiceWriter(9 + 7 * endpoints.length)
  writer.u8(9).u8(DESCRIPTOR.interface).u8(0).u8(0).u8(endpoints.length)
  writer.u8(interfaceClass.class).u8(interfaceClass.subclass).u8(interfaceClass.protocol).u8(0)
  for (const descriptor of classDescriptors) writer.bytes(descriptor)
  for (const { address, type, maxPacketSize, interval } of endpoints) {
    writer.u8(7).u8(DESCRIPTOR.endpoint).u8(address).u8(ENDPOINT_TYPE[type]).u16(maxPacketSize).u8(interval)
  }
  const body = writer.finish()
  const head = new SpiceWriter(9 + body.length)
    .u8(9)
    .u8(DESCRIPTOR.configuration)
    .u16(9 + body.length)
  return head.u8(1).u8(CONFIGURATION).u8(0).u8(BUS_POWERED).u8(MAX_POWER).bytes(body).finish()
}

function stringDescriptor(
  { manufacturer, product, serialNumber }: DeviceDescription,
  index: number,
): Uint8Array | undefined {
  if (index === 0) return new SpiceWriter(4).u8(4).u8(DESCRIPTOR.string).u16(ENGLISH).finish()
  const text = [manufacturer, product, serialNumber][index - 1]
  if (text === undefined) return undefined
  const writer = new SpiceWriter(2 + 2 * text.length).u8(2 + 2 * text.length).u8(DESCRIPTOR.string)
  for (let at = 0; at < text.length; at++) writer.u16(text.charCodeAt(at))
  return writer.finish()
}
