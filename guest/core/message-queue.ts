import { connectError } from '../../framework/core/errors.ts'

/** Most messages that wait to be received. The agent takes each at once: more means that something is wrong. */
const WAITING_MAX = 10_000

/** Messages from whoever gets them, in order, to one reader that asks for them. */
export class MessageQueue {
  #messages: string[] = []
  #reader: PromiseWithResolvers<string | undefined> | undefined
  #end: { error?: Error } | undefined

  get ended(): boolean {
    return this.#end !== undefined
  }

  push(text: string): void {
    if (this.#end) return
    const reader = this.#reader
    this.#reader = undefined
    if (reader) return reader.resolve(text)
    if (this.#messages.length < WAITING_MAX) this.#messages.push(text)
    else this.end(connectError('ATP_VERIFIER_LOST', `more than ${WAITING_MAX} messages of the server wait to be read`))
  }

  /** Nothing more will come. What waits is still delivered, unless it ended with an error. */
  end(error?: Error): void {
    if (this.#end) return
    this.#end = { error }
    if (error) this.#messages = []
    const reader = this.#reader
    this.#reader = undefined
    if (error) reader?.reject(error)
    else reader?.resolve(undefined)
  }

  /** The next message; undefined at the end. One call at a time. */
  async next(): Promise<string | undefined> {
    const waiting = this.#messages.shift()
    if (waiting !== undefined) return waiting
    if (this.#end?.error) throw this.#end.error
    if (this.#end) return undefined
    // Node 18 has no Promise.withResolvers.
    const reader = {} as PromiseWithResolvers<string | undefined>
    reader.promise = new Promise((resolve, reject) => Object.assign(reader, { resolve, reject }))
    this.#reader = reader
    return reader.promise
  }
}
