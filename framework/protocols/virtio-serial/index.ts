export { GuestResponder, type ResponderGuest, type RunResult } from './client.ts'
export { VirtioSerialChannel, type ChannelOptions } from './connection.ts'
export { findPort, guestPortPath, virtioSerialPorts, type ParsedChannel, type VirtioSerialPort } from './discovery.ts'
export {
  makeFramer,
  openChannel,
  VirtioSerialProtocol,
  VirtioSerialProtocolBuilder,
  type Framing,
  type VirtioSerialOptions,
} from './protocol.ts'
