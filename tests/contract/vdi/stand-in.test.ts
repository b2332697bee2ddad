/** Client and stand-in together, with remembered hypervisors instead of real ones. */
import { expect, it, onTestFinished } from 'vitest'
import { type VdiAssumptions, VdiClient } from '../../../framework/vdi/index.ts'
import { MemoryWorld, type PlatformBehaviour, startPlatform } from '../../../lab/platform/index.ts'
import { vdiContract } from './contract.ts'
import type { ContractPlatform } from './rig.ts'
import { contractPlatform } from './stand-in.ts'

async function standIn(
  behaviour: Partial<PlatformBehaviour>,
  assumptions: Partial<VdiAssumptions>,
): Promise<ContractPlatform> {
  const world = new MemoryWorld()
  const platform = await startPlatform({ world, behaviour: { busyMs: 20, ...behaviour } })
  const pace = { firstMs: 10, longestMs: 100 }
  return contractPlatform(platform, { assumptions, pace, machines: async () => world.list() })
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
