import { afterAll, beforeAll, describe } from 'vitest'
import { faultsContract } from './contract-faults.ts'
import { operationsContract } from './contract-operations.ts'
import { type ContractPlatform, Rig } from './rig.ts'

/**
 * Defines the tests that drive every operation of the client against a platform, over HTTP and with strict checks, and
 * then let go wrong what can. Each test leaves the platform and the hypervisors behind it as they were.
 *
 * @param makePlatform - called once; what it returns is closed at the end.
 * @param options.timeoutMs - milliseconds for each test; default Vitest's.
 */
export function vdiContract(
  name: string,
  makePlatform: () => Promise<ContractPlatform>,
  { timeoutMs }: { timeoutMs?: number } = {},
): void {
  describe(name, () => {
    const rig = new Rig(timeoutMs)
    beforeAll(async () => rig.open(await makePlatform()), timeoutMs)
    afterAll(() => rig.close(), timeoutMs)
    operationsContract(rig)
    faultsContract(rig)
  })
}
