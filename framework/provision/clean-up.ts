import { Secret } from '../core/index.ts'
import { VdiClient } from '../vdi/index.ts'
import type { CleanUpData } from './api.ts'
import { destroyPool } from './destroy-pool.ts'
import { destroyVm } from './destroy-vm.ts'

/** The broker gives up after 120 s, without a reason. */
const TIMEOUT_MS = 110_000

/**
 * Carries out a last will: destroys the pool or the VM of a process that is gone, if it is still there.
 *
 * @param data {@link CleanUpData}
 * @throws as {@link destroyPool} and {@link destroyVm}
 */
export async function cleanUp(data: unknown, { signal }: { signal?: AbortSignal } = {}): Promise<void> {
  const { url, username, password, tls, assumptions = {}, ...made } = data as CleanUpData
  const client = new VdiClient({
    baseUrl: url,
    username,
    password: new Secret('the password of the VDI platform', password),
    tls,
    assumptions: Object.fromEntries(Object.entries(assumptions).map(([name, value]) => [name, value ?? undefined])),
  })
  try {
    // Its maker may have ended in the middle of the request.
    const bounds = { client, mayAppear: true, signal, timeoutMs: TIMEOUT_MS }
    if ('poolName' in made) await destroyPool({ ...bounds, pool: { name: made.poolName } })
    else await destroyVm({ ...bounds, vm: { name: made.vmName } })
  } finally {
    await client.close()
  }
}
