import { sleep } from '../core/index.ts'
import type { ActionContext } from './action.ts'
import type { InputEvent, TypeOptions } from './api.ts'
import { AckWindow, FIXED_PACE_MS, PathPace, strokeCost } from './pacing.ts'

/** How long the guest may acknowledge nothing before it is asked whether it still works, milliseconds. */
const QUIET_MS = 400
/** How long it may acknowledge nothing before typing stops waiting for it, milliseconds. */
const STALL_MS = 2000
/** Time between two reports of progress, milliseconds. */
const PROGRESS_MS = 1000

/** The events of one stroke, and the evdev codes of its keys in the order of their releases. */
export interface PlannedStroke {
  events: readonly InputEvent[]
  releases: readonly number[]
}

/** What the guest reported of its keyboard. */
interface Reports {
  /** `performance.now()` of the latest report, or of the beginning. */
  seenAtMs: number
  /** It reported something since its window was last emptied. */
  reads: boolean
}

/**
 * Types strokes in acknowledgement pacing while somebody observes and no pace is asked for, else at a fixed pace.
 * Resolves to a remark for the account when it stopped early.
 */
export async function typeStrokes(
  strokes: readonly PlannedStroke[],
  { delayMs, onProgress }: Pick<TypeOptions, 'delayMs' | 'onProgress'>,
  context: ActionContext,
  pace: PathPace,
): Promise<string | undefined> {
  const { recording, path, verify, observed, signal } = context
  const { device } = path.name
  const fixedMs = delayMs ?? (observed ? undefined : FIXED_PACE_MS[device])
  // A pace that was asked for says nothing of what the guest can take.
  const window = new AckWindow(device, fixedMs === undefined ? pace : new PathPace())
  const guest: Reports = { seenAtMs: performance.now(), reads: false }
  recording.onSeen = (event) => {
    guest.seenAtMs = performance.now()
    guest.reads = true
    if (event.type !== 'key') return
    if (event.value === 1) window.pressed(event.code)
    else if (event.value === 0) window.released(event.code, event.guestNs)
  }
  let silent = false
  let reportedAtMs = guest.seenAtMs
  let next = 0
  while (next < strokes.length) {
    const cost = strokeCost((strokes[next] as PlannedStroke).events, device)
    if (fixedMs === undefined && !silent && !(await roomFor(cost, window, guest, context))) {
      if (verify === 'require') {
        return recording.gap === undefined
          ? `stopped after ${next} of ${strokes.length} strokes: the guest reported nothing for ${STALL_MS} ms`
          : undefined
      }
      silent = true
    }
    const paceMs = silent ? FIXED_PACE_MS[device] : fixedMs
    const end = Math.min(strokes.length, next + (paceMs === undefined ? pace.strokesPerCall : 1))
    const batch: InputEvent[] = []
    window.beginCall()
    while (next < end) {
      const { events, releases } = strokes[next] as PlannedStroke
      const room = strokeCost(events, device)
      if (batch.length > 0 && !window.hasRoomFor(room)) break
      batch.push(...events)
      window.sent(releases, room)
      next++
    }
    const sentAtMs = performance.now()
    await recording.inject(batch, { signal, hasRoom: paceMs === undefined })
    window.callAnswered()
    if (onProgress && sentAtMs - reportedAtMs >= PROGRESS_MS) {
      reportedAtMs = sentAtMs
      onProgress(next, strokes.length)
    }
    if (paceMs !== undefined && next < strokes.length) await sleep(paceMs, signal)
    // A guest that reports again is waited for again.
    if (silent && recording.gap === undefined && guest.seenAtMs > sentAtMs) {
      window.forget()
      silent = false
    }
  }
  return undefined
}

/**
 * Waits until the window has room. What the guest lost is never acknowledged and would hold its room for good, so a
 * quiet guest is asked whether it works: one that answers, and read its keyboard before, has taken everything out of
 * the device's queue by then. False when it has reported nothing for too long, or the observation has a gap.
 */
async function roomFor(
  cost: number,
  window: AckWindow,
  guest: Reports,
  { recording, alive, signal }: ActionContext,
): Promise<boolean> {
  const hasRoom = () => window.hasRoomFor(cost)
  for (;;) {
    if (await recording.waitUntil(hasRoom, QUIET_MS, signal)) return true
    const quietSinceMs = guest.seenAtMs
    const leftMs = quietSinceMs + STALL_MS - performance.now()
    if (recording.gap !== undefined || leftMs <= 0) return false
    const reports = recording.waitUntil(() => guest.seenAtMs !== quietSinceMs, leftMs, signal)
    // What comes first counts: a report while the guest is asked is as good as an answer.
    const asked = alive({ signal, timeoutMs: leftMs }).then((works) => works || reports)
    asked.catch(() => {})
    const heard = await Promise.race([asked, reports])
    if (guest.seenAtMs === quietSinceMs && heard && guest.reads) {
      window.forget()
      guest.reads = false
      return true
    }
    if (!(await reports)) return false
  }
}
