import type { CallOptions } from '../core/index.ts'
import type { TransportManager } from '../hosts/index.ts'
import type { ConnectedPool, ConnectedVm, PoolRequest } from './api.ts'
import { addLeft, createPool } from './create-pool.ts'
import { destroyPool } from './destroy-pool.ts'

/**
 * Makes a pool and takes a connection to the host of each VM. As {@link createPool} it leaves nothing when it rejects.
 *
 * @throws as {@link createPool}, and as `TransportManager.getLibvirtConnection`
 */
export async function createAndConnect(request: PoolRequest & { manager: TransportManager }): Promise<ConnectedPool> {
  const { client, locator, manager, signal, timeoutMs } = request
  const { vms: located, ...pool } = await createPool(request)
  const vms: ConnectedVm[] = []
  const destroy = async (options: CallOptions = {}) => {
    for (const { connection } of vms) connection.release()
    await destroyPool({ ...options, client, locator, pool: { id: pool.id } })
  }
  try {
    for (const vm of located) {
      vms.push({ ...vm, connection: await manager.getLibvirtConnection(vm.host.id, { signal, timeoutMs }) })
    }
  } catch (error) {
    await destroy().catch((reason: unknown) => addLeft(error, pool.name, reason))
    throw error
  }
  return { ...pool, vms, destroy }
}
