import { configError, unsupportedError, type CallOptions } from '../core/index.ts'
import type { Targets } from './targets.ts'
import type { PlatformPool, PlatformVm, VdiService } from './vdi-service.ts'

/** The VDI platform for one step: what the step names, else the current pool and its VMs. */
export interface PlatformContext {
  readonly service: VdiService
  /** The pool named, which becomes the current one; without a name the current one. @throws `ATP_SCENARIO_NO_POOL` */
  pool(idOrName?: string): Promise<PlatformPool>
  /**
   * The VMs that `on` names, else all of the current pool, else the platform's VMs of the current set. They become
   * the current set.
   *
   * @throws `ATP_SCENARIO_NO_TARGET`, also for a pool without VMs.
   */
  vms(): Promise<PlatformVm[]>
  /** All VMs of a pool become the current set. @throws `ATP_SCENARIO_NO_TARGET` for none. */
  useVmsOf(pool: PlatformPool): Promise<PlatformVm[]>
  /** A single VM becomes the current set; it is of no current pool. */
  useVm(vm: PlatformVm): void
  /** Makes a pool the current one. */
  use(pool: PlatformPool): void
  /** The pool is gone: it is the current one no longer. */
  forget(pool: PlatformPool): void
}

/** @throws `ATP_SCENARIO_NEEDS_VDI` when used where no platform is. */
export function platformContext(
  service: VdiService | undefined,
  targets: Targets,
  on: readonly string[] | undefined,
  call: CallOptions,
): PlatformContext {
  const platform = (): VdiService => {
    if (service) return service
    throw needsVdi()
  }
  const useVms = (vms: PlatformVm[], where: string): PlatformVm[] => {
    if (vms.length === 0) throw configError('ATP_SCENARIO_NO_TARGET', `${where} has no VMs`)
    targets.become(vms.map(({ id }) => id))
    return vms
  }
  const named = (names: readonly string[]) => Promise.all(names.map((name) => platform().vm(name, call)))
  return {
    get service() {
      return platform()
    },
    async pool(idOrName = targets.pool) {
      if (idOrName === undefined) {
        throw configError('ATP_SCENARIO_NO_POOL', 'the step names no pool, and no step before did', {
          remedy: 'name it with "pool", or create one before',
        })
      }
      const pool = await platform().pool(idOrName, call)
      targets.pool = pool.id
      return pool
    },
    async vms() {
      if (on?.length) return useVms(await named(on), 'the step')
      if (targets.pool !== undefined) return useVms(await platform().poolVms(targets.pool, call), 'the current pool')
      if (targets.ofPlatform) return useVms(await named(targets.ofPlatform), 'the current set')
      throw configError(
        'ATP_SCENARIO_NO_TARGET',
        'the step names no VM of the platform, and there is no current pool',
        {
          remedy: 'name VMs with "on", or a pool in a step before',
        },
      )
    },
    useVmsOf: async (pool) => useVms(await platform().poolVms(pool.id, call), `desk pool ${pool.name}`),
    useVm(vm) {
      targets.pool = undefined
      targets.become([vm.id])
    },
    use: (pool) => void (targets.pool = pool.id),
    forget: (pool) => {
      if (targets.pool === pool.id) targets.pool = undefined
    },
  }
}

/** What a step that needs the platform is refused with where none is configured. */
export function needsVdi(): Error {
  return unsupportedError('ATP_SCENARIO_NEEDS_VDI', 'the scenario needs a VDI platform; none is configured', {
    remedy: "add vdi: { url, username, password } to the configuration, or vdi: 'lab' for a stand-in on this machine",
  })
}
