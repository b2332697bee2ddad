/** Scenarios on the stand-in platform, in memory: its VMs have no machine, but all it says about them is real. */
import { onTestFinished } from 'vitest'
import { Scope } from '../../../framework/core/index.ts'
import { destroyPool, destroyVm } from '../../../framework/provision/index.ts'
import { VdiSteps, type VdiDesktops } from '../../../framework/runner/worker/vdi-steps.ts'
import { loadScenario, ScenarioExecutor, walkReports, type TestReport } from '../../../framework/scenario/index.ts'
import { VdiClient } from '../../../framework/vdi/index.ts'
import { MemoryWorld, startPlatform, type Platform } from '../../../lab/platform/index.ts'
import { memoryVm } from './memory-vm.ts'

export interface OnPlatform {
  platform: Platform
  world: MemoryWorld
  client: VdiClient
  /** What was done to opened VMs. */
  calls: string[]
  /** Runs a scenario, and ends what its test owns. */
  run(text: string): Promise<{ report: TestReport; statuses: string[]; notes: (string | undefined)[] }>
}

/** Starts a platform with templates `ps2`, `virtio` and `usb`; pools that name none are made of `template`. */
export async function onPlatform(template?: string): Promise<OnPlatform> {
  const world = new MemoryWorld()
  const platform = await startPlatform({ world, behaviour: { busyMs: 5 } })
  const { url, adminUser: username, adminPassword: password } = platform
  const client = new VdiClient({ baseUrl: url, username, password, pace: { firstMs: 5, longestMs: 50 } })
  onTestFinished(async () => {
    await client.close()
    await platform.close()
  })
  const calls: string[] = []
  const run: OnPlatform['run'] = async (text) => {
    const { scenario } = await loadScenario({ text }, { file: '/p/x.spec.yaml' })
    const scope = new Scope('the test')
    const desktops: VdiDesktops = {
      client,
      template,
      ownedPool: (owner, name, create) =>
        owner.use(name, create, async ({ id }) => void (await destroyPool({ client, pool: { id } }))),
      ownedVm: (owner, name, create) =>
        owner.use(name, create, async ({ id }) => void (await destroyVm({ client, vm: { id } }))),
      open: async (_, vm) => memoryVm(vm.name, calls) as never,
    }
    const vdi = new VdiSteps(desktops, scope as never)
    const executor = new ScenarioExecutor({ resolveVm: () => undefined, vdi, root: '/p' })
    const report = await executor.execute(scenario)
    const left = await scope.close()
    if (left.length > 0) throw left[0]
    const steps = [...walkReports(report.steps)]
    return {
      report,
      statuses: steps.map((step) => `${step.action} ${step.status}`),
      notes: steps.map(({ note }) => note),
    }
  }
  return { platform, world, client, calls, run }
}
