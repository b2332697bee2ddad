import type { DesktopVm, Pool, PoolOptions, VmOptions } from '../../desktop/index.ts'
import type { VmRequest } from '../../leases/index.ts'
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

function requestOf(options: VmOptions): VmRequest {
  return {
    ...(options.domain === undefined ? {} : { name: options.domain }),
    ...(options.profile === undefined ? {} : { profile: options.profile }),
    ...(options.labels === undefined ? {} : { labels: options.labels }),
    ...(options.host === undefined ? {} : { host: options.host }),
    ...(options.ownership === undefined ? {} : { ownership: options.ownership }),
  }
}
