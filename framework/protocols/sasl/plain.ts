import { malformedError } from './errors.ts'
import type { SaslCredentials, SaslMechanism } from './mechanism.ts'
import { saslprep } from './saslprep.ts'

/** PLAIN (RFC 4616): the password itself. Only where nobody else can read it; it proves nothing of the server. */
export class Plain implements SaslMechanism {
  readonly name = 'PLAIN'
  readonly #message: Uint8Array
  #done = false

  /** @throws `ATP_SASL_CREDENTIALS` */
  constructor({ user, password }: SaslCredentials) {
    const parts = ['', saslprep('user', user), saslprep('password', password.reveal())]
    this.#message = new TextEncoder().encode(parts.join('\0'))
  }

  get done(): boolean {
    return this.#done
  }

  start(): Uint8Array {
    this.#done = true
    return this.#message
  }

  async step(): Promise<Uint8Array> {
    throw malformedError(this.name, 'a challenge, which this mechanism does not have')
  }
}
