import { Secret } from '../core/index.ts'
import { VdiClient } from '../vdi/index.ts'
import type { CleanUpData } from './api.ts'
import { destroyPool } from './destroy-pool.ts'

/**
 * Carries out a last will: destroys the pool of a process that is gone, if there still is one.
 *
 * @param data {@link CleanUpData}
 * @throws as {@link destroyPool}
 */
export async function cleanUp(data: unknown, { signal }: { signal?: AbortSignal } = {}): Promise<void> {
  const { url, username, password, tls, assumptions = {}, poolName } = data as CleanUpData
  await using client = new VdiClient({
    baseUrl: url,
    username,
    password: new Secret('the password of the VDI platform', password),
    tls,
    assumptions: Object.fromEntries(Object.entries(assumptions).map(([name, value]) => [name, value ?? undefined])),
  })
  // Its maker may have ended in the middle of the request.
  await destroyPool({ client, pool: { name: poolName }, mayAppear: true, signal })
}
