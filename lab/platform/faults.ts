import { randomUUID } from 'node:crypto'
import { array, int, object, oneOf, required, string, type ValueOf } from './schema.ts'

/**
 * What can go wrong on purpose.
 *
 * Of a call: `latency` (wait `ms`, then answer), `drop` (close the connection without an answer), `http-500`, `html`
 * (a page instead of JSON, HTTP 200), `truncated` (half of the answer's body), `refuse` (business error `code` with
 * `reason`), `expire-token` (all tokens end before this call).
 *
 * Of the work behind a call: `stuck` (the VM stays busy until the fault is removed), `fail` (the work fails with
 * `reason`, which its event tells), `refuse-vm` (the VM comes back in `errorList` with `reason`), `fewer` (a pool
 * delivers `count` VMs less than asked, and its event tells `reason` where there is one).
 */
const FAULT_KINDS = [
  'latency',
  'drop',
  'http-500',
  'html',
  'truncated',
  'refuse',
  'expire-token',
  'stuck',
  'fail',
  'refuse-vm',
  'fewer',
] as const
export type FaultKind = (typeof FAULT_KINDS)[number]

export const FAULT = object('Fault', {
  kind: required(oneOf(...FAULT_KINDS)),
  /** Only calls of this operation: `domain.start`. Default any. */
  operation: string,
  /** Only VMs with one of these ids, for faults of the work. */
  domains: array(string),
  /** The first call that is hit, counted from 1 among those that match. Default 1. */
  nth: int,
  /** How many calls are hit from there on. Default 1; 0 = all until it is removed. */
  times: int,
  /** Milliseconds of `latency`. */
  ms: int,
  /** Status of `refuse`. Default 9599. */
  code: int,
  reason: string,
  /** VMs that `fewer` withholds. Default 1. */
  count: int,
})
export type Fault = ValueOf<typeof FAULT>

interface Active {
  id: string
  fault: Fault
  seen: number
  removed: AbortController
}

const DEFAULT_REASON = 'this was asked for by a fault'

/** The faults that are set. */
export class Faults {
  readonly #active = new Map<string, Active>()

  /** Sets a fault; returns its id. */
  add(fault: Fault): string {
    const id = randomUUID()
    this.#active.set(id, { id, fault, seen: 0, removed: new AbortController() })
    return id
  }

  list(): (Fault & { id: string; seen: number })[] {
    return [...this.#active.values()].map(({ id, fault, seen }) => ({ ...fault, id, seen }))
  }

  /** Takes a fault away; what hangs on it goes on. False when there is none of this id. */
  remove(id: string): boolean {
    const active = this.#active.get(id)
    active?.removed.abort()
    return this.#active.delete(id)
  }

  clear(): void {
    for (const id of this.#active.keys()) this.remove(id)
  }

  /** The fault of this kind that hits this call, counting it. `released` aborts once the fault is removed. */
  hit(
    kind: FaultKind,
    operation: string,
    domain?: string,
  ):
    | { ms: number; code: number | undefined; reason: string; told?: string; count: number; released: AbortSignal }
    | undefined {
    for (const active of this.#active.values()) {
      const { fault } = active
      if (fault.kind !== kind || (fault.operation !== undefined && fault.operation !== operation)) continue
      if (fault.domains && !(domain !== undefined && fault.domains.includes(domain))) continue
      active.seen += 1
      const first = fault.nth ?? 1
      const times = fault.times ?? 1
      if (active.seen < first || (times > 0 && active.seen >= first + times)) continue
      return {
        ms: fault.ms ?? 0,
        code: fault.code,
        reason: fault.reason ?? DEFAULT_REASON,
        ...(fault.reason !== undefined && { told: fault.reason }),
        count: fault.count ?? 1,
        released: active.removed.signal,
      }
    }
    return undefined
  }
}
