import { createHash, randomUUID } from 'node:crypto'
import type { PlatformClock } from './clock.ts'
import type { PlatformBehaviour } from './options.ts'

export interface Session {
  token: string
  user: string
  kind: 'admin' | 'user'
  expires: number
}

/** MD5 of the UTF-8 text in lower-case hexadecimal: how passwords travel. */
export function md5(text: string): string {
  return createHash('md5').update(text, 'utf8').digest('hex')
}

/** Who is logged in. Nothing of it survives the process. */
export class Sessions {
  readonly #sessions = new Map<string, Session>()
  readonly #behaviour: PlatformBehaviour
  readonly #clock: PlatformClock
  #logins = 0

  constructor(behaviour: PlatformBehaviour, clock: PlatformClock) {
    this.#behaviour = behaviour
    this.#clock = clock
  }

  /** Logins since the start. */
  get logins(): number {
    return this.#logins
  }

  /** Who is logged in. */
  open(): { user: string; kind: Session['kind'] }[] {
    const now = this.#clock.now()
    const live = [...this.#sessions.values()].filter(({ expires }) => expires > now)
    return live.map(({ user, kind }) => ({ user, kind }))
  }

  begin(user: string, kind: Session['kind']): Session {
    this.#logins += 1
    const now = this.#clock.now()
    for (const { token, user: other, kind: otherKind, expires } of this.#sessions.values()) {
      const replaced = this.#behaviour.sessions === 'single' && other === user && otherKind === kind
      if (replaced || expires <= now) this.#sessions.delete(token)
    }
    const session: Session = { token: randomUUID(), user, kind, expires: now + this.#behaviour.tokenLifeMs }
    this.#sessions.set(session.token, session)
    return session
  }

  /** The session of a token that counts, which this use may prolong. */
  use(token: string | undefined): Session | undefined {
    const session = token === undefined ? undefined : this.#sessions.get(token)
    const now = this.#clock.now()
    if (!session || session.expires <= now) return undefined
    if (this.#behaviour.tokenExpiry === 'sliding') session.expires = now + this.#behaviour.tokenLifeMs
    return session
  }

  end(token: string): void {
    this.#sessions.delete(token)
  }

  /** All tokens are worthless from now on. */
  expireAll(): void {
    this.#sessions.clear()
  }
}
