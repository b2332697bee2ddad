import { messageOf, withDeadline } from '../core/index.ts'
import type { OwnerTag, VmProvider } from './api.ts'
import type { JournalVm } from './journal.ts'
import { isBrokerAlive } from './process-guard.ts'

/** A VM with an owner tag, as the provider lists it. */
export interface TaggedVm {
  host: string
  name: string
  uuid: string
  owner: OwnerTag
}
interface SweptVm extends TaggedVm {
  /** Why it was removed. */
  reason: string
}
export interface SweepResult {
  removed: SweptVm[]
  /** Nobody's VMs that could not be destroyed. */
  failed: (SweptVm & { error: string })[]
}

export interface SweepOptions {
  /**
   * The journal of a state directory whose earlier brokers are known to be dead: their VMs go, even where another
   * process has got the dead broker's id.
   */
  journal?: { readonly vms: ReadonlyMap<string, JournalVm> }
  /** Whether a broker runs under a process id. Default {@link isBrokerAlive}. */
  isAlive?: (pid: number) => boolean
  /** For use inside a broker: the VMs it answers for. Others with its process id go. */
  knows?: (vm: TaggedVm) => boolean
  /** Only VMs for which this holds. Default all. */
  only?: (vm: TaggedVm) => boolean
  /** Milliseconds since the epoch. Default now. */
  nowMs?: number
}

const LIST_TIMEOUT_MS = 60_000

/**
 * Destroys every tagged VM nobody answers for: its broker is dead, its time is over, or the live broker does not know
 * it. VMs without an owner tag are not even seen.
 *
 * @throws what the provider's `list` throws, `ATP_TIMEOUT`. A VM that cannot be destroyed is reported in `failed`.
 */
export async function sweep(provider: VmProvider, options: SweepOptions = {}): Promise<SweepResult> {
  const tagged = await withDeadline('listing VMs', { timeoutMs: LIST_TIMEOUT_MS }, () => provider.list())
  const result: SweepResult = { removed: [], failed: [] }
  await Promise.all(
    tagged.map(async (vm) => {
      if (options.only && !options.only(vm)) return
      const reason = reasonToRemove(vm, options)
      if (reason === undefined) return
      try {
        await provider.destroy({ host: vm.host, uuid: vm.uuid })
        result.removed.push({ ...vm, reason })
      } catch (error) {
        result.failed.push({ ...vm, reason, error: messageOf(error) })
      }
    }),
  )
  return result
}

/**
 * Removes the checkpoints nobody answers for: those of dead brokers, and of this one that it does not know.
 *
 * @throws what the provider throws.
 */
export async function sweepCheckpoints(
  { checkpoints }: VmProvider,
  knows: (id: string) => boolean,
  isAlive: (pid: number) => boolean = isBrokerAlive,
): Promise<string[]> {
  if (!checkpoints) return []
  const kept = await checkpoints.list()
  const lost = kept.filter(({ id, owner }) => (owner.pid === process.pid ? !knows(id) : !isAlive(owner.pid)))
  await Promise.all(lost.map(({ id }) => checkpoints.remove(id)))
  return lost.map(({ id }) => id)
}

function reasonToRemove(
  vm: TaggedVm,
  { journal, isAlive = isBrokerAlive, knows, nowMs = Date.now() }: SweepOptions,
): string | undefined {
  if (knows?.(vm)) return undefined
  if (knows && vm.owner.pid === process.pid) return 'the broker does not know it'
  const noted = journal?.vms.get(vm.name)
  if (noted && noted.host === vm.host && (noted.uuid === undefined || noted.uuid === vm.uuid))
    return 'an earlier broker left it'
  if (vm.owner.expires <= nowMs) return 'its time is over'
  return isAlive(vm.owner.pid) ? undefined : `its broker (process ${vm.owner.pid}) is dead`
}
