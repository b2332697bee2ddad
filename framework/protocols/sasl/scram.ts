import { toBase64 } from './base64.ts'
import { malformedError, placeOf, untrustedError } from './errors.ts'
import type { SaslCredentials, SaslMechanism } from './mechanism.ts'
import { credential } from './credentials.ts'
import { readServerFinal, readServerFirst, readText } from './scram-messages.ts'

type Bytes = Uint8Array<ArrayBuffer>

const NONCE_BYTES = 24
const HASH_BYTES = 32
/** No channel binding; the same in base64 in the last message. */
const GS2_HEADER = 'n,,'
const CHANNEL_BINDING = 'c=biws'

/**
 * SCRAM-SHA-256 (RFC 5802, RFC 7677) without channel binding: the password never travels, and the server proves
 * that it knows it too. The key derivation runs outside the event loop (WebCrypto).
 */
export class ScramSha256 implements SaslMechanism {
  readonly name = 'SCRAM-SHA-256'
  readonly #where: string
  readonly #password: string
  readonly #nonce: string
  readonly #firstBare: string
  #state: 'started' | 'proven' | 'done' | 'failed' = 'started'
  #serverSignature: Bytes | undefined

  /**
   * @param server Where the messages go, for errors.
   * @param nonce For tests with known messages; else random.
   * @throws `ATP_SASL_CREDENTIALS`
   */
  constructor({ user, password }: SaslCredentials, server: string, nonce = randomNonce()) {
    this.#where = placeOf(this.name, server)
    const name = credential('user', user).replaceAll('=', '=3D').replaceAll(',', '=2C')
    this.#password = credential('password', password.reveal())
    this.#nonce = nonce
    this.#firstBare = `n=${name},r=${nonce}`
  }

  get done(): boolean {
    return this.#state === 'done'
  }

  start(): Uint8Array {
    return encode(GS2_HEADER + this.#firstBare)
  }

  async step(challenge: Uint8Array): Promise<Uint8Array> {
    const state = this.#state
    this.#state = 'failed'
    const text = readText(this.#where, challenge)
    if (state === 'started') {
      const proof = await this.#prove(text)
      this.#state = 'proven'
      return proof
    }
    if (state === 'proven') {
      this.#verify(text)
      this.#state = 'done'
      return new Uint8Array(0)
    }
    throw malformedError(this.#where, 'a message after the last one')
  }

  async #prove(serverFirst: string): Promise<Bytes> {
    const { nonce, salt, iterations } = readServerFirst(this.#where, serverFirst, this.#nonce)
    const finalBare = `${CHANNEL_BINDING},r=${nonce}`
    const transcript = encode(`${this.#firstBare},${serverFirst},${finalBare}`)
    const salted = await pbkdf2(encode(this.#password), salt, iterations)
    const [clientKey, serverKey] = await Promise.all([
      hmac(salted, encode('Client Key')),
      hmac(salted, encode('Server Key')),
    ])
    const storedKey = new Uint8Array(await crypto.subtle.digest('SHA-256', clientKey))
    const [clientSignature, serverSignature] = await Promise.all([
      hmac(storedKey, transcript),
      hmac(serverKey, transcript),
    ])
    this.#serverSignature = serverSignature
    const proof = clientKey.map((byte, at) => byte ^ (clientSignature[at] as number))
    return encode(`${finalBare},p=${toBase64(proof)}`)
  }

  #verify(serverFinal: string): void {
    const signature = readServerFinal(this.#where, serverFinal)
    const expected = this.#serverSignature as Bytes
    if (signature.length !== expected.length || expected.some((byte, at) => byte !== signature[at]))
      throw untrustedError(this.#where, 'the server could not prove that it knows the password')
  }
}

function randomNonce(): string {
  return toBase64(crypto.getRandomValues(new Uint8Array(NONCE_BYTES)))
}

function encode(text: string): Bytes {
  return new TextEncoder().encode(text)
}

async function hmac(key: Bytes, data: Bytes): Promise<Bytes> {
  const imported = await crypto.subtle.importKey('raw', key, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign'])
  return new Uint8Array(await crypto.subtle.sign('HMAC', imported, data))
}

async function pbkdf2(password: Bytes, salt: Bytes, iterations: number): Promise<Bytes> {
  const key = await crypto.subtle.importKey('raw', password, 'PBKDF2', false, ['deriveBits'])
  const parameters = { name: 'PBKDF2', hash: 'SHA-256', salt, iterations }
  return new Uint8Array(await crypto.subtle.deriveBits(parameters, key, HASH_BYTES * 8))
}
