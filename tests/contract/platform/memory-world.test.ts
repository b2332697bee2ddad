import { MemoryWorld, startPlatform } from '../../../lab/platform/index.ts'
import { worldContract } from './world-contract.ts'

worldContract(
  'hypervisors in memory',
  async () => {
    const world = new MemoryWorld()
    const platform = await startPlatform({ world, behaviour: { busyMs: 5 } })
    return { platform, machines: async () => world.list().map(({ name }) => name), close: () => platform.close() }
  },
  20_000,
)
