import { configError, isAtpError } from '../../core/index.ts'
import type { DesktopVm } from '../../desktop/index.ts'
import type { VmRequest } from '../../leases/index.ts'
import { neededVdi } from '../configured-vdi.ts'
import { unsupportedCheckpoint, withCheckpoints, type KeyedCheckpoint } from './checkpoint.ts'
import { workerRuntime } from './runtime.ts'
import type { TestScope } from './test-scope.ts'

/** One VM that a test wants, wherever it comes from. */
export interface DesktopWish extends Omit<VmRequest, 'checkpoint'> {
  /** A template of the platform, else a machine profile. */
  template?: string
  /** Whether the platform makes it. Left out, it does where it has the template, or where no lab could. */
  platform?: boolean
  /** What it is restored from. */
  checkpoint?: KeyedCheckpoint
}

/**
 * Gives a test VMs, in the order of its wishes: those of the platform as one desk pool for each template, all others
 * in one lease. The test gets every one or fails; all end with its scope.
 *
 * @throws `ATP_VDI_POOL_OPTIONS`, `ATP_VDI_UNCONFIGURED`, `ATP_CHECKPOINT_*`, what a lease and the platform throw
 */
export async function openDesktops(
  scope: TestScope,
  wishes: readonly DesktopWish[],
  locks: string[] = [],
): Promise<DesktopVm[]> {
  const runtime = workerRuntime()
  const ofPlatform = await Promise.all(wishes.map((wish) => isOfPlatform(scope, wish)))
  const pools = new Map<string | undefined, number[]>()
  const leased: number[] = []
  for (const [index, wish] of wishes.entries()) {
    if (!ofPlatform[index]) leased.push(index)
    else {
      refusePlace(wish)
      const template = wish.template ?? wish.profile
      pools.set(template, [...(pools.get(template) ?? []), index])
    }
  }
  const vms: DesktopVm[] = []
  const put = (indexes: number[], made: DesktopVm[]) =>
    indexes.forEach((to, from) => (vms[to] = made[from] as DesktopVm))
  if (leased.length > 0 || locks.length > 0) {
    const requests = leased.map((index) => {
      const wish = wishes[index] as DesktopWish
      return { request: requestOf(wish), checkpoint: wish.checkpoint }
    })
    const leases = runtime.lease(scope, await withCheckpoints(scope, requests), locks)
    put(leased, await leases.catch((error: unknown) => refuse(error, wishes)))
  }
  const provision = async ([template, indexes]: [string | undefined, number[]]) =>
    put(indexes, await (await runtime.platform()).provision(scope, { count: indexes.length, template }))
  await Promise.all([...pools].map(provision))
  return vms
}

/** Templates of the platform go before profiles of the lab; without a lab it makes every VM that is not named. */
async function isOfPlatform({ signal }: TestScope, wish: DesktopWish): Promise<boolean> {
  const { template, platform, name, ownership } = wish
  const runtime = workerRuntime()
  const { vdi, lab, configFile } = runtime.context
  if (platform !== undefined) return platform && neededVdi(vdi, configFile) !== undefined
  if (!vdi || name !== undefined || ownership === 'attached') return false
  return !lab || (template !== undefined && (await (await runtime.platform()).hasTemplate(template, signal)))
}

/** The broker knows nothing of the platform that was asked first. @throws always */
function refuse(error: unknown, wishes: readonly DesktopWish[]): never {
  const template = wishes.find((wish) => wish.template !== undefined && wish.platform === undefined)?.template
  const { vdi } = workerRuntime().context
  const about = isAtpError(error, 'ATP_LEASE_IMPOSSIBLE') && error.message.includes(`profile "${template}"`)
  if (!vdi || !about) throw error
  throw configError('ATP_LEASE_IMPOSSIBLE', `the platform has no template "${template}"; ${error.message}`, {
    context: error.context,
  })
}

function refusePlace({ name, host, labels, ownership, checkpoint }: DesktopWish): void {
  if (checkpoint) {
    throw unsupportedCheckpoint(checkpoint.name, 'the platform restores no desktop from the memory of another')
  }
  if (name === undefined && host === undefined && labels === undefined && ownership === undefined) return
  throw configError('ATP_VDI_POOL_OPTIONS', 'the platform chooses names and hosts of its desktops, and owns them', {
    remedy: 'leave name (domain), host, labels and ownership out, or say platform: false',
  })
}

function requestOf({ template, platform: _, checkpoint: _checkpoint, ...request }: DesktopWish): VmRequest {
  const profile = request.profile ?? template
  return { ...request, ...(profile === undefined ? {} : { profile }) }
}
