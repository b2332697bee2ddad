import { Secret } from '../core/index.ts'
import { VdiClient } from '../vdi/index.ts'
import type { CleanUpData } from './api.ts'
import { destroyPool } from './destroy-pool.ts'

/** The broker gives up after 120 s, without a reason. */
const TIMEOUT_MS = 110_000

/**
 * Carries out a last will: destroys the pool of a process that is gone, if there still is one.
 *
 * @param data {@link CleanUpData}
 * @throws as {@link destroyPool}
 */
export async function cleanUp(data: unknown, { signal }: { signal?: AbortSignal } = {}): Promise<void> {
  const { url, username, password, tls, assumptions = {}, poolName } = data as CleanUpData
  const client = new VdiClient({
    baseUrl: url,
    username,
    password: new Secret('the password of the VDI platform', password),
    tls,
    assumptions: Object.fromEntries(Object.entries(assumptions).map(([name, value]) => [name, value ?? undefined])),
  })
  try {
    // Its maker may have ended in the middle of the request.
    await destroyPool({ client, pool: { name: poolName }, mayAppear: true, signal, timeoutMs: TIMEOUT_MS })
  } finally {
    await client.close()
  }
}
