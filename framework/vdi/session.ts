/**
 * The token that all calls of a client share. Whoever needs it while a login is under way joins that login, so that
 * any number of calls whose token has expired cause one.
 */
export class Session {
  readonly #logIn: () => Promise<string>
  #token: string | undefined
  #underWay: Promise<string> | undefined

  /** @param logIn one login; answers the token */
  constructor(logIn: () => Promise<string>) {
    this.#logIn = logIn
  }

  /** The token now, without a login. */
  get current(): string | undefined {
    return this.#token
  }

  /** The token; logs in if there is none. Rejects with the login's error, which is not remembered. */
  token(): string | Promise<string> {
    return this.#token ?? (this.#underWay ??= this.#open())
  }

  /** Forgets a token that the platform no longer takes, unless another one has replaced it. */
  drop(token: string): void {
    if (this.#token === token) this.#token = undefined
  }

  async #open(): Promise<string> {
    try {
      return (this.#token = await this.#logIn())
    } finally {
      this.#underWay = undefined
    }
  }
}
