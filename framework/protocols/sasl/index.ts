/** SASL (RFC 4422) for clients: mechanisms as state machines, without I/O. */
export { chooseMechanism } from './choose.ts'
export { untrustedError } from './errors.ts'
export type { SaslCredentials, SaslMechanism } from './mechanism.ts'
export { Plain } from './plain.ts'
export { ScramSha256 } from './scram.ts'
