import { connectError, type CallOptions } from '../../../framework/core/index.ts'
import type { ConnectionState, PoolMember } from '../../../framework/hosts/index.ts'

/** A connection whose life the test decides. */
export class FakeConnection implements PoolMember {
  readonly name: string
  state: ConnectionState = 'disconnected'
  closed = false
  /** How often somebody waited for its restoration. */
  hurried = 0
  readonly #handlers = new Set<(change: { to: ConnectionState; error?: Error }) => void>()
  #attempt: PromiseWithResolvers<void> | undefined

  constructor(name: string) {
    this.name = name
  }

  get watched(): boolean {
    return this.#handlers.size > 0
  }

  onStateChange(handler: (change: { to: ConnectionState; error?: Error }) => void): () => void {
    this.#handlers.add(handler)
    return () => this.#handlers.delete(handler)
  }

  connect({ signal }: CallOptions = {}): Promise<void> {
    if (this.state === 'reconnecting') this.hurried++
    else this.become('connecting')
    this.#attempt ??= Promise.withResolvers()
    signal?.addEventListener('abort', () => this.#attempt?.reject(signal.reason as Error))
    return this.#attempt.promise
  }

  /** The attempt under way succeeds. */
  arrive(): void {
    this.become('connected')
    this.#attempt?.resolve()
    this.#attempt = undefined
  }

  /** The attempt under way fails; `state` is where the connection is left. */
  refuse(error: Error = down(), state: ConnectionState = 'failed'): void {
    this.become(state, error)
    this.#attempt?.reject(error)
    this.#attempt = undefined
  }

  become(to: ConnectionState, error?: Error): void {
    this.state = to
    for (const handler of this.#handlers) handler({ to, ...(error && { error }) })
  }

  async close(): Promise<void> {
    this.closed = true
    this.state = 'disconnected'
  }
}

/** The host is not there: trying again may help. */
export function down(message = 'connection refused'): Error {
  return connectError('ATP_TRANSPORT_CONNECT', message, { retryable: true })
}

/** Something is wrong with how the host is asked. */
export function denied(): Error {
  return connectError('ATP_TRANSPORT_TLS', 'no such key')
}

/** Makes fakes in a row, `a`, `b`, `c` …, and remembers them. */
export function fakes(arriving = true) {
  const made: FakeConnection[] = []
  const create = () => {
    const connection = new FakeConnection(String.fromCodePoint(97 + made.length))
    made.push(connection)
    if (arriving) queueMicrotask(() => connection.arrive())
    return connection
  }
  return { made, create }
}
