/** Numbers of the usbredir protocol 0.7 and of USB 2.0, by the names of their specifications. */

/** `usb_redir_*` packet types of the parts that a device made in software takes part in. */
export const PACKET = {
  hello: 0,
  device_connect: 1,
  device_disconnect: 2,
  reset: 3,
  interface_info: 4,
  ep_info: 5,
  set_configuration: 6,
  get_configuration: 7,
  configuration_status: 8,
  set_alt_setting: 9,
  get_alt_setting: 10,
  alt_setting_status: 11,
  start_interrupt_receiving: 15,
  stop_interrupt_receiving: 16,
  interrupt_receiving_status: 17,
  cancel_data_packet: 21,
  filter_reject: 22,
  filter_filter: 23,
  device_disconnect_ack: 24,
  control_packet: 100,
  bulk_packet: 101,
  interrupt_packet: 103,
} as const
export type PacketKind = keyof typeof PACKET

/** `usb_redir_cap_*`: bits of the capabilities in a hello. */
export const CAPABILITY = {
  connect_device_version: 1,
  filter: 2,
  device_disconnect_ack: 3,
  ep_info_max_packet_size: 4,
  ids_64bits: 5,
  bulk_length_32bits: 6,
} as const
export type Capability = keyof typeof CAPABILITY

/** `usb_redir_status`: how a transfer or request ended. */
export const STATUS = { success: 0, cancelled: 1, inval: 2, ioerror: 3, stall: 4 } as const

/** `usb_redir_speed_*` */
export const SPEED = { full: 1, high: 2 } as const

/** `usb_redir_type_*`: kinds of endpoints. */
export const ENDPOINT_TYPE = { control: 0, bulk: 2, interrupt: 3, invalid: 255 } as const

/** Direction bit of an endpoint's address and of a request's type: from the device. */
export const IN = 0x80

/** `bDescriptorType`, USB 2.0 table 9-5 and HID 1.11 section 7.1. */
export const DESCRIPTOR = {
  device: 1,
  configuration: 2,
  string: 3,
  interface: 4,
  endpoint: 5,
  hid: 0x21,
  report: 0x22,
} as const

/** `bRequest` of standard requests, USB 2.0 table 9-4. */
export const REQUEST = { getStatus: 0, clearFeature: 1, setFeature: 3, getDescriptor: 6 } as const
