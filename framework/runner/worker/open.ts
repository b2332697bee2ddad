import type { DesktopVm, Pool, PoolOptions, VmOptions } from '../../desktop/index.ts'
import type { VmRequest } from '../../leases/index.ts'
import type { ScenarioFixtures, ScenarioTestMeta } from '../../scenario/index.ts'
// Not from the index: it brings YAML, schemas and all step kinds, which TypeScript specs never need.
import { keyOf } from '../../scenario/model/needs.ts'
import { workerRuntime } from './runtime.ts'
import type { TestScope } from './test-scope.ts'

/** Leases one VM for the test. */
export async function openVm(scope: TestScope, options: VmOptions): Promise<DesktopVm> {
  const [vm] = await workerRuntime().lease(scope, [requestOf(options)], options.locks)
  return vm as DesktopVm
}

/** Leases all machines of a pool together: the test gets every one or waits. */
export async function openPool(scope: TestScope, options: PoolOptions): Promise<Pool> {
  const roles = options.vms
  const requests = roles.map(() => requestOf({ ...options, profile: options.template }))
  const vms = await workerRuntime().lease(scope, requests, options.locks)
  const byRole = Object.fromEntries(roles.map((role, index) => [role, vms[index] as DesktopVm]))
  return {
    vms: byRole,
    all: vms,
    each: (body) => Promise.all(roles.map((role) => body(byRole[role] as DesktopVm, role))).then(() => {}),
  }
}

/** Leases what a scenario needs and hands it the services of the test. */
export async function openScenario(scope: TestScope, meta: ScenarioTestMeta): Promise<ScenarioFixtures> {
  const runtime = workerRuntime()
  const { vms: needed, locks } = meta.needs
  const requests = needed.map(({ role: _, ...request }) => request)
  const vms = needed.length > 0 || locks.length > 0 ? await runtime.lease(scope, requests, locks) : []
  const byKey = new Map(needed.map((one, index) => [keyOf(one), vms[index] as DesktopVm]))
  return {
    resolveVm: (key) => byKey.get(key),
    emit: (event) => scope.record(event),
    inStep: (step, work) => scope.inStep(step, work),
    attach: (name, contentType, content) => scope.attach(name, contentType, content),
    openPort: (vm, port, options) => (vm as DesktopVm).channel(port, options),
    secret: (name) => runtime.secret(name),
    signal: scope.signal,
    root: scope.context.root,
    timeouts: { stepMs: scope.context.timeouts.step, expectMs: scope.context.timeouts.expect },
  }
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
