import { createHash, createHmac, pbkdf2Sync, timingSafeEqual } from 'node:crypto'

const hmac = (key: Uint8Array, text: string) => createHmac('sha256', key).update(text).digest()

/** The other side of SCRAM-SHA-256, from node:crypto: an implementation of its own to compare with. */
export class ScramServer {
  readonly #user: string
  readonly #salt: Uint8Array
  readonly #iterations: number
  readonly #salted: Buffer
  #said = ''

  /** `salt` and `iterations` as a server would have stored them with the password. */
  constructor(user: string, password: string, salt: Uint8Array, iterations: number) {
    this.#user = user
    this.#salt = salt
    this.#iterations = iterations
    this.#salted = pbkdf2Sync(password, salt, iterations, 32, 'sha256')
  }

  /** Answers the client's first message. Throws for another user. */
  first(clientFirst: string): string {
    const match = /^n,,(n=([^,]*),r=(.*))$/.exec(clientFirst)
    if (!match) throw new Error(`no first message: ${clientFirst}`)
    const user = (match[2] as string).replaceAll('=2C', ',').replaceAll('=3D', '=')
    if (user !== this.#user) throw new Error(`another user: ${user}`)
    const answer = `r=${match[3]}!server~,s=${Buffer.from(this.#salt).toString('base64')},i=${this.#iterations}`
    this.#said = `${match[1]},${answer}`
    return answer
  }

  /** Answers the client's proof: with the server's own, or with an error. */
  final(clientFinal: string): string {
    const match = /^(c=biws,r=.*!server~),p=(.*)$/.exec(clientFinal)
    if (!match) return 'e=other-error'
    const said = `${this.#said},${match[1]}`
    const clientKey = hmac(this.#salted, 'Client Key')
    const signature = hmac(createHash('sha256').update(clientKey).digest(), said)
    const expected = clientKey.map((byte, at) => byte ^ (signature[at] as number))
    const proof = Buffer.from(match[2] as string, 'base64')
    if (proof.length !== 32 || !timingSafeEqual(proof, expected)) return 'e=invalid-proof'
    return `v=${hmac(hmac(this.#salted, 'Server Key'), said).toString('base64')}`
  }
}
