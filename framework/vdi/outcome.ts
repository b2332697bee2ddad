import { type CallOptions, remoteError } from '../core/index.ts'

/** A VM that an operation on several did not reach. */
export interface VmFailure {
  /** Undefined where the platform does not say which VM it passed over. */
  domainId?: string
  domainName?: string
  /** The platform's words, or ours where it gives none. */
  reason: string
}

/** What became of an operation on several VMs. */
export interface BatchOutcome {
  /** Ids of the events of the accepted VMs, in no promised order; empty for operations without events. */
  events: string[]
  failed: VmFailure[]
}

/** Bounds of an operation on several VMs, and what to do when only some succeed. */
export interface BatchOptions extends CallOptions {
  /** `return`: failures are in the outcome. Default `throw`. */
  partial?: 'throw' | 'return'
}

/**
 * The outcome, unless it has failures that the caller did not ask for.
 *
 * @param operation `domains.start`
 * @throws `ATP_VDI_PARTIAL` with all failures, and the events of the VMs that were accepted
 */
export function settled(operation: string, outcome: BatchOutcome, partial: BatchOptions['partial']): BatchOutcome {
  const { events, failed } = outcome
  if (failed.length === 0 || partial === 'return') return outcome
  const list = failed.map((one) => `  ${one.domainName ?? one.domainId ?? 'a VM'}: ${one.reason}`).join('\n')
  throw remoteError('ATP_VDI_PARTIAL', `${operation} failed for ${failed.length} of the VMs:\n${list}`, {
    context: { operation, failed, events },
  })
}

/** Failures of VMs that are known by id only. */
export function failuresOf(domainIds: string[], reason: string): VmFailure[] {
  return domainIds.map((domainId) => ({ domainId, reason }))
}
