export { GuestResponder, type ResponderGuest } from './client.ts'
export { VirtioSerialChannel, type ChannelOptions } from './connection.ts'
export { findPort, guestPortPath, virtioSerialPorts, type VirtioSerialPort } from './discovery.ts'
export { openChannel, VirtioSerialProtocolBuilder, type VirtioSerialOptions } from './protocol.ts'
