import { createHash } from 'node:crypto'
import { connect, createServer, type Server } from 'node:net'
import { interrupted, withDeadline, type CallOptions } from '../framework/core/index.ts'

/**
 * Runs `work` while holding a machine-wide lock, so that two processes never build or start the same thing.
 *
 * The lock is an abstract Unix socket: the kernel frees it when its holder dies, however it dies, and a waiter
 * sees that as the end of its connection to the holder. Nothing can go stale.
 *
 * @throws `ATP_TIMEOUT` or `ATP_INTERRUPTED` while waiting; else whatever `work` throws.
 */
export async function withLock<T>(
  name: string,
  { signal, timeoutMs, onWait }: CallOptions & { onWait?: () => void },
  work: () => Promise<T>,
): Promise<T> {
  const address = `\0atp-lab-${createHash('sha256').update(name).digest('hex').slice(0, 32)}`
  let waited = false
  const server = await withDeadline(`waiting for the lock "${name}"`, { signal, timeoutMs }, async (stop) => {
    for (;;) {
      const taken = await tryListen(address)
      if (taken) {
        if (!stop.aborted) return taken
        await release(taken)
        throw interrupted(`waiting for the lock "${name}"`, stop)
      }
      if (!waited) onWait?.()
      waited = true
      await endOfHolder(address, stop)
    }
  })
  try {
    return await work()
  } finally {
    await release(server)
  }
}

const clients = new WeakMap<Server, Set<{ destroy(): void }>>()

function release(server: Server): Promise<void> {
  for (const socket of clients.get(server) ?? []) socket.destroy()
  return new Promise((resolve) => server.close(() => resolve()))
}

function tryListen(address: string): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => {
      clients.get(server)?.add(socket)
      socket.on('close', () => clients.get(server)?.delete(socket)).on('error', () => {})
    })
    clients.set(server, new Set())
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(undefined)
      else reject(error)
    })
    server.listen({ path: address }, () => resolve(server))
  })
}

/** Resolves when the present holder lets go (or is gone already). */
function endOfHolder(address: string, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ path: address })
    const done = () => {
      signal.removeEventListener('abort', done)
      socket.destroy()
      resolve()
    }
    signal.addEventListener('abort', done, { once: true })
    socket.on('close', done).on('error', done).resume()
  })
}
