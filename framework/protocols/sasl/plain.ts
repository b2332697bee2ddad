import { malformedError, placeOf } from './errors.ts'
import type { SaslCredentials, SaslMechanism } from './mechanism.ts'
import { credential } from './credentials.ts'

/** PLAIN (RFC 4616): the password itself. Only where nobody else can read it; it proves nothing of the server. */
export class Plain implements SaslMechanism {
  readonly name = 'PLAIN'
  readonly #where: string
  readonly #message: Uint8Array
  #done = false

  /** @param server Where the message goes, for errors. @throws `ATP_SASL_CREDENTIALS` */
  constructor({ user, password }: SaslCredentials, server: string) {
    this.#where = placeOf(this.name, server)
    const parts = ['', credential('user', user), credential('password', password.reveal())]
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
    throw malformedError(this.#where, 'a challenge, which this mechanism does not have')
  }
}
