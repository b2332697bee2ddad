import type { Secret } from '../../core/secret.ts'

/** Who wants in. */
export interface SaslCredentials {
  user: string
  password: Secret
}

/**
 * The client's side of one authentication (RFC 4422), without I/O: the carrier hands the server's messages in and
 * sends what comes out. For one use. It needs nothing of Node.
 */
export interface SaslMechanism {
  /** As IANA registers it: `SCRAM-SHA-256`. */
  readonly name: string
  /** The message that goes with the mechanism's name, undefined when the server speaks first. Call it once. */
  start(): Uint8Array | undefined
  /**
   * The answer to a message of the server. It may be empty; a carrier whose server is content already drops it.
   *
   * @throws `ATP_SASL_MALFORMED`, `ATP_SASL_UNTRUSTED`, `ATP_SASL_REFUSED`. The mechanism is of no use then.
   */
  step(challenge: Uint8Array): Promise<Uint8Array>
  /**
   * True when nothing is left to say and the server has proven what this mechanism makes it prove. A server that
   * reports success before must not be believed.
   */
  readonly done: boolean
}
