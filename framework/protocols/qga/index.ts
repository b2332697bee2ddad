export * from './client.ts'
export { GuestExecResult } from './exec-result.ts'
export { FILE_CHUNK_BYTES } from './files.ts'
export type { QgaCallOptions, QgaConnectionOptions } from './connection.ts'
export { QgaProtocol, QgaProtocolBuilder } from './protocol.ts'
export {
  encodeCommand,
  guestExec,
  parseReply,
  type GuestAgentInfo,
  type GuestExecCommand,
  type GuestExecInput,
  type GuestExecStatus,
  type GuestOsInfo,
  type QgaReply,
} from './codec.ts'
