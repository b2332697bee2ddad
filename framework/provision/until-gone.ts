import { type CallOptions, isAtpError, pollUntil, remoteError, sleep, timeoutError } from '../core/index.ts'
import { type DomainVO, type VdiClient, VM_STATUS } from '../vdi/index.ts'

/** Refusals in a row that are believed: VMs under way heal by themselves, rights do not. */
const REFUSALS = 5
const FIRST_PAUSE_MS = 100
const LONGEST_PAUSE_MS = 2000

/** Bounds of the next call of several that share one limit. */
type Left = () => CallOptions & { timeoutMs: number }

/** How something is removed, again and again until it is gone. */
export interface Removal {
  /** `desk pool office` */
  what: string
  context: Record<string, unknown>
  left: Left
  timeoutMs: number
  signal: AbortSignal | undefined
  /** Whether a VM of it is in the middle of something, which ends some time: refusals do not count meanwhile. */
  busy(): boolean
  /** Removes once what is there; true when there was nothing any more. */
  round(): Promise<boolean>
}

/** @throws `ATP_PROVISION_TIMEOUT` whose cause is the last refusal; what no repetition heals */
export async function untilGone({ what, context, left, timeoutMs, signal, busy, round }: Removal): Promise<void> {
  let refusals = 0
  let last: unknown
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
    try {
      if (await round()) return
      refusals = 0
    } catch (error) {
      if (signal?.aborted || !mayHeal(error)) throw error
      if (!isRetryable(error) && !busy() && ++refusals === REFUSALS) throw error
      last = error
    }
    if (left().timeoutMs <= pauseMs) {
      throw timeoutError('ATP_PROVISION_TIMEOUT', `${what} was not gone within ${timeoutMs} ms`, {
        context: { ...context, timeoutMs },
        cause: last,
      })
    }
    await sleep(pauseMs, signal)
  }
}

/** Cuts the power of VMs that are on, and waits until all are off. */
export async function powerOff(client: VdiClient, vms: readonly DomainVO[], left: Left): Promise<void> {
  const on = vms.filter(({ status }) => status !== VM_STATUS.off).map(({ id }) => id)
  if (on.length === 0) return
  const { events } = await client.domains.close(on, { ...left(), force: true })
  await client.domains.waitForStatus(on, 'off', { ...left(), events })
}

/**
 * Waits until the hypervisors have no domain of what the platform deleted.
 *
 * @throws `ATP_PROVISION_LEFT` with those that are left
 */
export async function seeGone(
  what: string,
  remaining: (options: CallOptions) => Promise<string[]>,
  bounds: CallOptions,
): Promise<void> {
  let domains: string[] = []
  try {
    await pollUntil(`the VMs of ${what} to be gone`, bounds, async (signal) => {
      domains = await remaining({ signal })
      return domains.length === 0 || undefined
    })
  } catch (error) {
    if (!isAtpError(error, 'ATP_TIMEOUT') || domains.length === 0) throw error
    throw remoteError(
      'ATP_PROVISION_LEFT',
      `the platform deleted ${what}, but its hypervisors still have ${domains.join(', ')}`,
      {
        context: { what, domains },
        cause: error,
        remedy: 'remove them with "virsh destroy" and "virsh undefine"',
      },
    )
  }
}

/** A VM in the middle of something, or a lost connection. */
function mayHeal(error: unknown): boolean {
  if (isRetryable(error)) return true
  if (!isAtpError(error)) return false
  if (error.code === 'ATP_VDI_REFUSED') return error.context['operation'] !== 'session.login'
  return error.code === 'ATP_VDI_STATE' || error.code === 'ATP_VDI_PARTIAL'
}

function isRetryable(error: unknown): boolean {
  return isAtpError(error) && error.retryable
}
