import type { XdrReader } from '../../wire/index.ts'

/** Takes one event's body, behind the callback id. Throws only for malformed bodies. */
export type EventBody = (body: XdrReader) => void

const EARLY_MAX = 64

/**
 * Finds the handler of an event by program, procedure and callback id.
 *
 * A daemon may send an event before the reply that names its callback id: such events are kept while a
 * registration is under way. Events of ids nobody holds (just deregistered) are counted and dropped.
 */
export class EventRouter {
  readonly #handlers = new Map<string, EventBody>()
  readonly #early: { key: string; body: XdrReader }[] = []
  #registering = 0
  #stray = 0

  get handlers(): number {
    return this.#handlers.size
  }

  /** Events that had no handler. */
  get stray(): number {
    return this.#stray
  }

  registrationBegins(): void {
    this.#registering++
  }

  registrationEnds(): void {
    this.#registering--
    if (this.#registering === 0) this.#stray += this.#early.splice(0).length
  }

  add(program: number, procedure: number, callbackId: number, handler: EventBody): void {
    const key = keyOf(program, procedure, callbackId)
    this.#handlers.set(key, handler)
    for (let at = 0; at < this.#early.length;) {
      const event = this.#early[at] as { key: string; body: XdrReader }
      if (event.key !== key) at++
      else {
        this.#early.splice(at, 1)
        handler(event.body)
      }
    }
  }

  delete(program: number, procedure: number, callbackId: number): void {
    this.#handlers.delete(keyOf(program, procedure, callbackId))
  }

  dispatch(program: number, procedure: number, body: XdrReader): void {
    const key = keyOf(program, procedure, body.i32())
    const handler = this.#handlers.get(key)
    if (handler) handler(body)
    else if (this.#registering > 0 && this.#early.length < EARLY_MAX) this.#early.push({ key, body })
    else this.#stray++
  }
}

function keyOf(program: number, procedure: number, callbackId: number): string {
  return `${program}/${procedure}/${callbackId}`
}
