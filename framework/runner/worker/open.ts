import { configError, parseDuration, type CallOptions } from '../../core/index.ts'
import type { DesktopVm, Pool, PoolOptions, Vm, VmOptions } from '../../desktop/index.ts'
import type { TestScopedEvent } from '../../evidence/events.ts'
import type { ScenarioFixtures, ScenarioTestMeta } from '../../scenario/index.ts'
// Not from the index: it brings YAML, schemas and all step kinds, which TypeScript specs never need.
import { keyOf, type ScenarioNeeds } from '../../scenario/model/needs.ts'
import { needsVdi } from '../../scenario/platform-context.ts'
import { checkpointOfSteps } from './checkpoint-steps.ts'
import { openDesktops, type DesktopWish } from './desktops.ts'
import type { Vdi } from './platform.ts'
import { workerRuntime } from './runtime.ts'
import type { TestScope } from './test-scope.ts'
import type { VdiSteps } from './vdi-steps.ts'
import type { AgentWish } from './verification.ts'

/** The one VM of a test. */
export async function openVm(scope: TestScope, options: VmOptions): Promise<DesktopVm> {
  const [vm] = await openDesktops(scope, [wishOf(options)], options.locks)
  return vm as DesktopVm
}

/** All machines of a pool together: the test gets every one or waits. */
export async function openPool(scope: TestScope, options: PoolOptions): Promise<Pool> {
  const roles = options.vms
  const wish = wishOf(options)
  const wishes = roles.map(() => wish)
  const vms = await openDesktops(scope, wishes, options.locks)
  const byRole = Object.fromEntries(roles.map((role, index) => [role, vms[index] as DesktopVm]))
  return {
    vms: byRole,
    all: vms,
    each: (body) => Promise.all(roles.map((role) => body(byRole[role] as DesktopVm, role))).then(() => {}),
  }
}

/** The platform that the configuration names, with a session. @throws `ATP_VDI_UNCONFIGURED`, `ATP_VDI_*`. */
export async function openVdi(scope: TestScope): Promise<Vdi> {
  const platform = await workerRuntime().platform()
  await platform.client.login({ signal: scope.signal })
  return platform.view()
}

async function openVdiSteps(scope: TestScope): Promise<VdiSteps> {
  const { VdiSteps: Steps } = await import('./vdi-steps.ts')
  return new Steps(await workerRuntime().platform(), scope)
}

/** Gets the VMs that a scenario needs and hands it the services of the test. */
export async function openScenario(scope: TestScope, meta: ScenarioTestMeta): Promise<ScenarioFixtures> {
  const runtime = workerRuntime()
  const { vms: needed, locks, platform, verification } = meta.needs
  if (verification) scope.agentWish = agentWishOf(verification, needed.length)
  if (platform && !scope.context.vdi) throw needsVdi()
  const services = {
    emit: (event: TestScopedEvent) => scope.record(event),
    inStep: <T>(step: string, work: () => Promise<T>) => scope.inStep(step, work),
    attach: (name: string, contentType: string, content: string | Uint8Array) =>
      scope.attach(name, contentType, content),
    openPort: (vm: Vm, port: string | undefined, options: CallOptions) => (vm as DesktopVm).channel(port, options),
    secret: (name: string) => runtime.secret(name),
    signal: scope.signal,
    root: scope.context.root,
    updateScreens: scope.context.updateScreens,
    timeouts: { stepMs: scope.context.timeouts.step, expectMs: scope.context.timeouts.expect },
  }
  const wishes = await Promise.all(
    needed.map(async ({ role: _, checkpoint, ...wish }): Promise<DesktopWish> =>
      checkpoint ? { ...wish, checkpoint: await checkpointOfSteps(checkpoint, services) } : wish,
    ),
  )
  const vms = await openDesktops(scope, wishes, locks)
  const byKey = new Map(needed.map((one, index) => [keyOf(one), vms[index] as DesktopVm]))
  return {
    ...services,
    resolveVm: (key) => byKey.get(key),
    ...(platform ? { vdi: await openVdiSteps(scope) } : {}),
  }
}

/** @throws `ATP_VERIFIER_VM_ID` */
function agentWishOf(
  {
    vm_id: vmId,
    connection_timeout: timeout,
    ws_addr: webSocket,
    tcp_addr: tcp,
  }: NonNullable<ScenarioNeeds['verification']>,
  vms: number,
): AgentWish {
  if (vmId !== undefined && vms !== 1) {
    throw configError('ATP_VERIFIER_VM_ID', `verification.vm_id names one VM, but the scenario has ${vms}`, {
      remedy: 'name the VMs of the agents in atp.config.ts: verification: { agents: { id: { vm: … } } }',
    })
  }
  return {
    ...(vmId === undefined ? {} : { vmId }),
    ...(timeout === undefined ? {} : { connectionTimeoutMs: parseDuration(timeout, 's') }),
    addresses: [
      ...(webSocket === undefined ? [] : [{ transport: 'websocket' as const, address: webSocket }]),
      ...(tcp === undefined ? [] : [{ transport: 'tcp' as const, address: tcp }]),
    ],
  }
}

function wishOf(options: VmOptions): DesktopWish {
  const { domain: name, vms: _vms, locks: _locks, ...wish } = options as VmOptions & Partial<PoolOptions>
  return { ...wish, ...(name === undefined ? {} : { name }) }
}
