import { once } from 'node:events'
import { connect } from 'node:net'
import { sleep } from '../core/index.ts'
import type { CleanUpData } from '../provision/api.ts'
import { cleanUp as cleanUpPlatform } from '../provision/clean-up.ts'

const LOOK_AGAIN_MS = 100

/**
 * Carries out a last will about something on the lab's stand-in platform. One that is gone, or that ends meanwhile
 * with the run it belonged to, has taken all of it along.
 *
 * @param data `CleanUpData`
 * @throws as the clean-up of any platform, while it is there
 */
export async function cleanUp(data: unknown, { signal }: { signal?: AbortSignal } = {}): Promise<void> {
  const over = new AbortController()
  const bounds = signal ? AbortSignal.any([signal, over.signal]) : over.signal
  try {
    await Promise.race([cleanUpPlatform(data, { signal: bounds }), endOf((data as CleanUpData).url, bounds)])
  } finally {
    over.abort()
  }
}

/** Resolves when nobody listens there any more. @throws when the signal aborts */
async function endOf(url: string, signal: AbortSignal): Promise<void> {
  const { hostname, port } = new URL(url)
  for (;;) {
    const socket = connect(Number(port), hostname).resume()
    socket.on('error', () => {})
    try {
      await once(socket, 'connect', { signal })
    } catch {
      signal.throwIfAborted()
      return
    }
    // A server may also close what asks it nothing.
    await once(socket, 'close', { signal }).catch(() => signal.throwIfAborted())
    await sleep(LOOK_AGAIN_MS, signal)
  }
}
