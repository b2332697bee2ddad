import { onTestFinished } from 'vitest'
import { isAtpError, type AtpError, Secret } from '../../../../framework/core/index.ts'
import { VdiClient, type VdiClientOptions } from '../../../../framework/vdi/index.ts'
import { CannedServer } from './canned-server.ts'

/** The clear password of all tests, and its MD5. */
export const PASSWORD = 'Geheim-密码'
export const PASSWORD_MD5 = '203c82f4f8912eb032495cb66405c471'

/** A client of a canned server; both end with the test. */
export async function clientAndServer(
  options: Partial<VdiClientOptions> = {},
): Promise<{ client: VdiClient; server: CannedServer }> {
  const server = await CannedServer.start()
  const client = new VdiClient({
    baseUrl: server.url,
    username: 'admin',
    password: new Secret('platform', PASSWORD),
    pace: { firstMs: 1, longestMs: 5 },
    ...options,
  })
  onTestFinished(async () => {
    await client.close()
    await server.stop()
  })
  return { client, server }
}

/** The error a call rejects with. */
export async function errorOf(call: Promise<unknown>): Promise<AtpError> {
  const error = await call.then(
    (value) => new Error(`it answered ${JSON.stringify(value)}`),
    (thrown: unknown) => thrown,
  )
  if (!isAtpError(error)) throw error
  return error
}

/** A VM as the platform shows one. */
export function vm(id: string, status: number, more: object = {}): object {
  return { id, name: `vm-${id}`, status, cpu: 2, memory: 4096, userId: null, isInner: false, ...more }
}
