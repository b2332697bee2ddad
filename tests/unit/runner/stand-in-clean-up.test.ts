import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, it } from 'vitest'
import { cleanUp } from '../../../framework/runner/stand-in-clean-up.ts'
import { standInPlatform } from '../../../framework/runner/used-platform.ts'
import { VdiClient } from '../../../framework/vdi/index.ts'
import { MemoryWorld, startPlatform, type Platform } from '../../../lab/platform/index.ts'

function usedOf({ url, adminUser, adminPassword, faultToken, hosts }: Platform) {
  const access = { url, username: adminUser, password: adminPassword.reveal(), faultToken: faultToken.reveal() }
  return standInPlatform({ ...access, owner: 'platform-x', template: 'ps2', hosts: [...hosts] })
}

it('a will about a stand-in removes what is left there', async () => {
  const world = new MemoryWorld()
  const platform = await startPlatform({ world })
  const used = usedOf(platform)
  await using client = new VdiClient(used.client)
  const [template] = await client.models.listAll()
  const order = { name: '办公', type: 0, amount: 2, modelId: template?.id as string, domainPrefix: 'office' } as const
  const { eventId } = await client.deskPools.create(order)
  await client.deskPools.waitForPool('办公', 2, { events: [eventId] })
  const will = used.will('desk pool "办公"', { poolName: '办公' })
  expect(will.what).toBe(`desk pool "办公" of the stand-in platform ${platform.url}`)
  await cleanUp(will.data)
  expect(world.list()).toEqual([])
  expect(await client.deskPools.listAll()).toEqual([])
  await platform.close()
})

it('a will is fulfilled when the stand-in has ended', async () => {
  const platform = await startPlatform({ world: new MemoryWorld() })
  const { data } = usedOf(platform).will('desk pool "a"', { poolName: 'a' })
  await platform.close()
  await cleanUp(data)
})

it('a will is fulfilled when the stand-in ends meanwhile, and given up when it is called off', async () => {
  let asked = () => {}
  const first = new Promise<void>((resolve) => (asked = resolve))
  // Takes the login and never answers it.
  const server = createServer(() => asked())
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const data = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    username: 'admin',
    password: 'secret',
    poolName: 'a',
  }
  const stop = new AbortController()
  const calledOff = cleanUp(data, { signal: stop.signal })
  await first
  stop.abort(new Error('enough'))
  await expect(calledOff).rejects.toThrow()

  const going = cleanUp(data)
  server.closeAllConnections()
  server.close()
  await going
})
