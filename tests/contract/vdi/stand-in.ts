/** The stand-in as a platform of the contract. */
import { operation } from '../../../framework/vdi/operation.ts'
import { body, listOf, record, text } from '../../../framework/vdi/schema.ts'
import { PLATFORM_OPERATIONS, type Platform } from '../../../lab/platform/index.ts'
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

/** @param platform - closed with the contract's */
export function contractPlatform(
  platform: Platform,
  more: Pick<ContractPlatform, 'machines' | 'assumptions' | 'pace' | 'unsupported'>,
): ContractPlatform {
  return {
    baseUrl: platform.url,
    username: platform.adminUser,
    password: platform.adminPassword,
    group: ROOT_GROUP,
    storagePoolId: async (client) => (await client.call(commonStoragePools, { query: {} }))[0]?.id ?? '',
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
    ...more,
  }
}
