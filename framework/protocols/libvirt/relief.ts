import { logger, messageOf, type CallOptions } from '../../core/index.ts'
import type { ByteStream } from '../../wire/index.ts'
import type { RpcConnection } from './connection.ts'
import { handshake, type HandshakeOptions } from './handshake.ts'

export interface ReliefOptions {
  /** Gives a further stream to the same daemon. */
  dial(options: CallOptions): Promise<ByteStream>
  /** A connection on that stream, which shares calls with the first one. */
  connect(stream: ByteStream): RpcConnection
  handshake: HandshakeOptions
}

/** Three VMs that hang for each connection: all that the daemon's own 20 workers can bear. */
const CONNECTIONS_MAX = 6
const OPEN_TIMEOUT_MS = 10_000
/** A connection that carried nothing at two looks in a row is not needed. */
const LOOK_MS = 10_000

/**
 * Opens further connections while VMs that hang hold the slots of the first one, so that calls to the others go on;
 * closes them when they carry nothing any more. Ends with the first connection.
 */
export function relieve(first: RpcConnection, options: ReliefOptions): void {
  const log = logger('libvirt')
  const further = new Set<RpcConnection>()
  const ended = new AbortController()
  let opening = false

  const open = async () => {
    const bounds = { signal: ended.signal, timeoutMs: OPEN_TIMEOUT_MS }
    const connection = options.connect(await options.dial(bounds))
    further.add(connection)
    void connection.closed.then(() => further.delete(connection))
    try {
      await handshake(connection, { ...options.handshake, ...bounds })
    } catch (error) {
      connection.destroy(error as Error)
      throw error
    }
    connection.share()
    closeWhenIdle(connection)
  }
  first.onShortage(() => {
    if (opening || further.size >= CONNECTIONS_MAX) return
    opening = true
    log.warn('VMs of {peer} do not answer and hold its calls: the others go on over a further connection', {
      peer: first.peer,
    })
    open()
      .catch((error: unknown) => {
        if (!ended.signal.aborted) log.warn(`no further connection to ${first.peer}: ${messageOf(error)}`)
      })
      .finally(() => (opening = false))
  })
  void first.closed.then((reason) => {
    ended.abort(reason)
    for (const connection of further) connection.destroy(reason)
  })
}

function closeWhenIdle(connection: RpcConnection): void {
  let wasIdle = false
  const timer = setInterval(() => {
    if (connection.idle && wasIdle) connection.destroy()
    wasIdle = connection.idle
  }, LOOK_MS)
  timer.unref()
  void connection.closed.then(() => clearInterval(timer))
}
