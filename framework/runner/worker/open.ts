import { configError } from '../../core/index.ts'
import type { DesktopVm, Pool, PoolOptions, VmOptions } from '../../desktop/index.ts'
import type { VmRequest } from '../../leases/index.ts'
import type { NeededVm, ScenarioFixtures, ScenarioTestMeta } from '../../scenario/index.ts'
// Not from the index: it brings YAML, schemas and all step kinds, which TypeScript specs never need.
import { keyOf } from '../../scenario/model/needs.ts'
import { needsVdi } from '../../scenario/platform-context.ts'
import type { Vdi } from './platform.ts'
import { workerRuntime } from './runtime.ts'
import type { TestScope } from './test-scope.ts'
import type { VdiSteps } from './vdi-steps.ts'

/** Leases one VM for the test. */
export async function openVm(scope: TestScope, options: VmOptions): Promise<DesktopVm> {
  const [vm] = await workerRuntime().lease(scope, [requestOf(options)], options.locks)
  return vm as DesktopVm
}

/** Leases all machines of a pool together: the test gets every one or waits. */
export async function openPool(scope: TestScope, options: PoolOptions): Promise<Pool> {
  const roles = options.vms
  const vms = (await isOfPlatform(scope, options))
    ? await provisionedVms(scope, options)
    : await leasedVms(scope, options)
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

/** Templates of the platform go before profiles of the lab; without a lab every pool is the platform's. */
async function isOfPlatform({ signal }: TestScope, { template }: PoolOptions): Promise<boolean> {
  const runtime = workerRuntime()
  const { vdi, lab } = runtime.context
  if (!vdi) return false
  return !lab || (template !== undefined && (await (await runtime.platform()).hasTemplate(template, signal)))
}

function leasedVms(scope: TestScope, options: PoolOptions): Promise<DesktopVm[]> {
  const requests = options.vms.map(() => requestOf({ ...options, profile: options.template }))
  return workerRuntime().lease(scope, requests, options.locks)
}

async function provisionedVms(scope: TestScope, options: PoolOptions): Promise<DesktopVm[]> {
  const { template, vms, locks = [], host, labels, ownership } = options
  if (host !== undefined || labels !== undefined || ownership !== undefined) {
    throw configError('ATP_VDI_POOL_OPTIONS', 'the platform chooses the hosts of its desktops, and owns them', {
      remedy: 'leave host, labels and ownership out of poolOptions',
    })
  }
  const runtime = workerRuntime()
  if (locks.length > 0) await runtime.lease(scope, [], locks)
  return (await runtime.platform()).provision(scope, { count: vms.length, template })
}

/** Leases what a scenario needs and hands it the services of the test. */
export async function openScenario(scope: TestScope, meta: ScenarioTestMeta): Promise<ScenarioFixtures> {
  const runtime = workerRuntime()
  const { vms: needed, locks, platform } = meta.needs
  if (platform && !scope.context.vdi) throw needsVdi()
  const vms = needed.length > 0 || locks.length > 0 ? await neededVms(scope, needed, locks) : []
  const byKey = new Map(needed.map((one, index) => [keyOf(one), vms[index] as DesktopVm]))
  return {
    resolveVm: (key) => byKey.get(key),
    emit: (event) => scope.record(event),
    inStep: (step, work) => scope.inStep(step, work),
    attach: (name, contentType, content) => scope.attach(name, contentType, content),
    openPort: (vm, port, options) => (vm as DesktopVm).channel(port, options),
    secret: (name) => runtime.secret(name),
    ...(platform ? { vdi: await openVdiSteps(scope) } : {}),
    signal: scope.signal,
    root: scope.context.root,
    timeouts: { stepMs: scope.context.timeouts.step, expectMs: scope.context.timeouts.expect },
  }
}

/** Roles that say nothing but one template for all may be a pool of the platform. */
async function neededVms(scope: TestScope, needed: readonly NeededVm[], locks: string[]): Promise<DesktopVm[]> {
  const template = needed[0]?.profile
  const asPool = needed.every(({ role, profile, ...more }) => role && profile === template && !Object.keys(more).length)
  const roles = needed.map(({ role }) => role as string)
  const options = { vms: roles, locks, ...(template === undefined ? {} : { template }) }
  if (roles.length > 0 && asPool && (await isOfPlatform(scope, options))) return provisionedVms(scope, options)
  const requests = needed.map(({ role: _, ...request }) => request)
  return workerRuntime().lease(scope, requests, locks)
}

function requestOf(options: VmOptions): VmRequest {
  return {
    ...(options.domain === undefined ? {} : { name: options.domain }),
    ...(options.profile === undefined ? {} : { profile: options.profile }),
    ...(options.labels === undefined ? {} : { labels: options.labels }),
    ...(options.host === undefined ? {} : { host: options.host }),
    ...(options.ownership === undefined ? {} : { ownership: options.ownership }),
  }
}
