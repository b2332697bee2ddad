/** Client and stand-in together, with remembered hypervisors instead of real ones. */
import { expect, it, onTestFinished } from 'vitest'
import { type VdiAssumptions, VdiClient } from '../../../framework/vdi/index.ts'
import { operation } from '../../../framework/vdi/operation.ts'
import { body, listOf, record, text } from '../../../framework/vdi/schema.ts'
import {
  DEFAULT_BEHAVIOUR,
  MemoryWorld,
  PLATFORM_OPERATIONS,
  type PlatformBehaviour,
  startPlatform,
} from '../../../lab/platform/index.ts'
import { vdiContract } from './contract.ts'
import type { ContractPlatform } from './rig.ts'

const ROOT_GROUP = 'ou=ocloud'
const NAMES = new Map(PLATFORM_OPERATIONS.map(({ method, path, name }) => [`${method} ${path}`, name]))

const commonStoragePools = operation({
  name: 'contract.commonStoragePools',
  method: 'GET',
  path: '/ocloud/v1/domain/common-storage-pool',
  query: body({}, { idList: listOf(text) }),
  answer: listOf(
    record({ id: text }, { name: text, poolId: text, poolName: text, poolType: text, status: { json: {} } }),
  ),
})

async function standIn(
  behaviour: Partial<PlatformBehaviour>,
  assumptions: Partial<VdiAssumptions>,
): Promise<ContractPlatform> {
  const world = new MemoryWorld()
  const platform = await startPlatform({ world, behaviour: { ...DEFAULT_BEHAVIOUR, busyMs: 20, ...behaviour } })
  return {
    baseUrl: platform.url,
    username: platform.adminUser,
    password: platform.adminPassword,
    assumptions,
    pace: { firstMs: 10, longestMs: 100 },
    group: ROOT_GROUP,
    storagePoolId: async (client) => (await client.call(commonStoragePools, { query: {} }))[0]?.id ?? '',
    machines: async () => world.list(),
    faults: {
      set({ operation: of, ...fault }) {
        const name = NAMES.get(of)
        if (name === undefined) throw new Error(`the stand-in has no ${of}`)
        const id = platform.faults.add({ ...fault, operation: name })
        return () => void platform.faults.remove(id)
      },
      expireTokens: () => platform.expireTokens(),
      logins: () => platform.logins,
    },
    close: () => platform.close(),
  }
}

vdiContract('a stand-in as it is', () => standIn({}, {}))

vdiContract('a stand-in that behaves differently wherever the documents let it', () =>
  standIn(
    {
      eventLife: 'when-finished',
      eventSuccess: 1,
      timestamps: 'object',
      timeZone: '-03:30',
      emptyFields: 'null',
      vmNames: 'padded',
      libvirtNames: 'own',
      poolsEnabled: 0,
      tokenErrorStatus: 401,
      errorStatus: 400,
      unknownPath: 'envelope',
      tokenExpiry: 'absolute',
      userEnvelope: 'return-code',
      spiceKey: 'base64',
      maxPageSize: 3,
    },
    { eventSuccessValue: 1, spiceKeyForm: 'base64', timestampZone: '-03:30' },
  ),
)

it('a client that assumes another zone than the platform has reads other times, and asks for other ranges', async () => {
  const { baseUrl, username, password, close } = await standIn({ timeZone: '+08:00' }, {})
  const clientIn = (timestampZone?: string) => {
    const assumptions = timestampZone === undefined ? {} : { timestampZone }
    return new VdiClient({ baseUrl, username, password, assumptions })
  }
  const [right, wrong] = [clientIn(), clientIn('Z')]
  onTestFinished(async () => {
    for (const client of [right, wrong]) await client.close()
    await close()
  })
  const [host] = await right.hosts.listAll()
  const now = Date.now()
  expect(Math.abs((right.timestampMs(host?.createTime) ?? 0) - now)).toBeLessThan(60_000)
  expect(Math.abs((wrong.timestampMs(host?.createTime) ?? 0) - now - 8 * 3_600_000)).toBeLessThan(60_000)
  const samples = ({ hosts }: VdiClient) =>
    hosts.performance(host?.id ?? '', new Date(now - 60_000), new Date(now + 60_000))
  expect(await samples(right)).not.toEqual([])
  expect(await samples(wrong)).toEqual([])
})
