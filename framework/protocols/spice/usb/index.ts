/** USB redirection: devices made in software, in the USB ports of a VM. Runs in a browser too. */
export { UsbPorts } from './usb-ports.ts'
export { UsbRedirection } from './usb-redirection.ts'
export type { ControlRequest, DeviceDescription, EndpointDescription, InterruptSink, UsbDevice } from './device.ts'
export { HidDevice, type HidDescription } from './hid-device.ts'
export { HidKeyboard, type KeyboardLight } from './hid-keyboard.ts'
export { HidMouse, type UsbMouseButton } from './hid-mouse.ts'
export { MassStorage } from './mass-storage.ts'
export { MemoryBlockStore, type BlockStore } from './block-store.ts'
