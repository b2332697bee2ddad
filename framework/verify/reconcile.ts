import { evdevKeyName } from '../keys/index.ts'
import type { Account, Expectation, InputObserver, ObservedEvent, Reconcile, SentEvent } from '../input/api.ts'
import { align, type Alignment, MAX_DIFFERENCES } from './align.ts'
import { summarizeLatency, type LatencySample } from './latency.ts'

/** Events further apart than the longest device queue (virtio: 64 descriptors, two an event) cannot have swapped. */
const REORDER_DISTANCE = 32
const MAX_DIFFERENCES_SHOWN = 10
/** `REL_X`, `REL_Y`, `REL_HWHEEL`, `REL_WHEEL`. Wheels report fractions of a notch besides, which nobody asks for. */
const MOTIONS = [0, 1, 6, 8]
/** Why an input has no latency. */
const UNSURE_PAIR = 'equal inputs were damaged, and which of them was seen is not known'
/** Code of a key that its observer does not name. */
const UNNAMED = 0

/**
 * Compares what was sent with what an observer saw.
 *
 * Keys, buttons and absolute positions are aligned event by event: what is missing is `lost`, what is too much
 * is `duplicated`, and an event that is missing here but too much within 32 events is `reordered`. So
 * `seen = sent - lost + duplicated` always holds. Relative motion is compared by its sum per axis, because mice
 * split large distances; an axis whose sum is wrong counts as one lost (or duplicated, if too far) event, and so does
 * one on which nothing was sent. Autorepeat of the guest's kernel (value 2) is nobody's input and ignored.
 */
export const reconcile: Reconcile = ({ sent, observed, observer, held }) => {
  const discrete = sent.filter((each) => each.type !== 'rel' && !each.optional)
  const motions = sent.filter((each) => each.type === 'rel' && !each.optional)
  const provoked = new Set(sent.filter((each) => each.optional).map(symbolOf))
  const seen = observed.filter((event) => event.type === 'abs' || (event.type === 'key' && event.value !== 2))
  const relative = reconcileRelative(
    motions,
    observed.filter((event) => event.type === 'rel'),
  )
  const alignment = align(discrete.map(symbolOf), seen.map(symbolOf))
  const pairs: [SentEvent, ObservedEvent][] = [...relative.pairs]
  const unsure: [SentEvent, ObservedEvent][] = []
  const differences = new Differences()
  let counts: { lost: number; duplicated: number; reordered: number }
  if (alignment) {
    const isSure = surePairs(alignment, discrete, seen)
    for (const [left, right] of alignment.matched) {
      const pair: [SentEvent, ObservedEvent] = [discrete[left] as SentEvent, seen[right] as ObservedEvent]
      if (isSure(left, right)) pairs.push(pair)
      else unsure.push(pair)
    }
    const extra = alignment.onlyB.filter((index) => !provoked.has(symbolOf(seen[index] as ObservedEvent)))
    counts = explain({ ...alignment, onlyB: extra }, discrete, seen, differences)
  } else {
    counts = countByKind(discrete, seen, differences)
  }
  for (const line of relative.differences) differences.add(line)
  const { summary, ...latencies } = summarizeLatency(observer, [
    ...samplesOf(pairs, observer),
    ...samplesOf(unsure, observer).map((sample) => ({ ...sample, invalid: UNSURE_PAIR })),
  ])
  const sentCount = discrete.length + motions.length
  const lost = counts.lost + relative.lost
  const duplicated = counts.duplicated + relative.duplicated
  const account: Account = {
    sent: sentCount,
    seen: sentCount - lost + duplicated,
    lost,
    duplicated,
    reordered: counts.reordered,
    stuck: stuckKeys(seen, held),
    differences: differences.lines(),
    ...latencies,
  }
  if (summary) account.latency = summary
  return account
}

function symbolOf({ type, code, value }: Expectation): number {
  // Keys and axes share one number space; values need 16 bits (positions 0…32767).
  return ((type === 'key' ? 0 : 0x1000) + code) * 0x10000 + value
}

function describe({ type, code, value }: Expectation): string {
  if (type === 'key') return `${evdevKeyName(code)} ${value === 0 ? 'release' : 'press'}`
  const axis = code === 0 ? 'X' : code === 1 ? 'Y' : code === 6 ? 'HWHEEL' : 'WHEEL'
  return `${type === 'abs' ? 'ABS' : 'REL'}_${axis} ${value}`
}

/**
 * Which matches of a damaged delivery are sure. Where one of two equal events was lost, either may be the one that was
 * seen: laid side by side from the other end, the other one is matched.
 */
function surePairs(
  { onlyA, onlyB }: Alignment,
  sent: readonly SentEvent[],
  seen: readonly ObservedEvent[],
): (left: number, right: number) => boolean {
  if (onlyA.length + onlyB.length === 0) return () => true
  const backwards = align(sent.map(symbolOf).toReversed(), seen.map(symbolOf).toReversed())
  const partner = new Map(backwards?.matched.map(([left, right]) => [sent.length - 1 - left, seen.length - 1 - right]))
  return (left, right) => partner.get(left) === right
}

/** Sorts what only one side has into lost, duplicated and reordered. */
function explain(
  { matched, onlyA, onlyB }: { matched: [number, number][]; onlyA: number[]; onlyB: number[] },
  sent: readonly SentEvent[],
  seen: readonly ObservedEvent[],
  differences: Differences,
): { lost: number; duplicated: number; reordered: number } {
  let reordered = 0
  let duplicated = 0
  const missing = new Set(onlyA)
  const sentSymbols = new Set(sent.map(symbolOf))
  let next = 0
  for (const index of onlyB) {
    const event = seen[index] as ObservedEvent
    while (next < matched.length && (matched[next] as [number, number])[1] < index) next++
    // Where in `sent` the surplus event would stand.
    const place = next < matched.length ? (matched[next] as [number, number])[0] : sent.length
    const twin = onlyA.find(
      (candidate) =>
        missing.has(candidate) &&
        Math.abs(candidate - place) <= REORDER_DISTANCE &&
        symbolOf(sent[candidate] as SentEvent) === symbolOf(event),
    )
    if (twin !== undefined) {
      missing.delete(twin)
      reordered++
      differences.add(
        `${describe(event)} arrived ${twin < place ? 'late' : 'early'} (event ${twin + 1} of ${sent.length})`,
      )
    } else {
      duplicated++
      if (sentSymbols.has(symbolOf(event))) differences.add(`saw ${describe(event)} once too often`)
      else if (event.type === 'key' && event.code === UNNAMED) differences.add('saw an input that was not sent')
      else differences.add(`saw ${describe(event)}, which was not sent`)
    }
  }
  for (const index of missing) {
    differences.add(`sent ${describe(sent[index] as SentEvent)}, saw nothing (event ${index + 1} of ${sent.length})`)
  }
  return { lost: missing.size, duplicated, reordered }
}

/** The account when the damage is too great to say which of several equal events is which. */
function countByKind(
  sent: readonly SentEvent[],
  seen: readonly ObservedEvent[],
  differences: Differences,
): { lost: number; duplicated: number; reordered: number } {
  const balance = new Map<number, { count: number; example: Expectation }>()
  const add = (event: Expectation, by: number) => {
    const entry = balance.get(symbolOf(event)) ?? { count: 0, example: event }
    entry.count += by
    balance.set(symbolOf(event), entry)
  }
  for (const event of sent) add(event, 1)
  for (const event of seen) add(event, -1)
  differences.add(`more than can be told apart: sent ${sent.length} events, saw ${seen.length}; counted by key`)
  let lost = 0
  let duplicated = 0
  for (const { count, example } of balance.values()) {
    if (count > 0) differences.add(`${describe(example)} is missing ${count} times`)
    if (count < 0) differences.add(`${describe(example)} came ${-count} times too often`)
    lost += Math.max(0, count)
    duplicated += Math.max(0, -count)
  }
  // Each that is out of order differs twice, once on either side.
  const reordered = Math.max(0, Math.ceil((MAX_DIFFERENCES + 1 - lost - duplicated) / 2))
  if (reordered > 0) differences.add(`at least ${reordered} events came in another order`)
  return { lost, duplicated, reordered }
}

function reconcileRelative(sent: readonly SentEvent[], seen: readonly ObservedEvent[]) {
  const pairs: [SentEvent, ObservedEvent][] = []
  const differences: string[] = []
  let lost = 0
  let duplicated = 0
  for (const code of new Set(sent.map((each) => each.code))) {
    const asked = sent.filter((each) => each.code === code)
    const moved = seen.filter((event) => event.code === code)
    const wanted = asked.reduce((sum, each) => sum + each.value, 0)
    const got = moved.reduce((sum, event) => sum + event.value, 0)
    const [last, arrived] = [asked.at(-1), moved.at(-1)]
    if (last && arrived && wanted === got) pairs.push([last, arrived])
    if (wanted === got) continue
    differences.push(`${describe({ type: 'rel', code, value: wanted })} sent, ${got} seen`)
    if (Math.abs(got) > Math.abs(wanted)) duplicated++
    else lost++
  }
  for (const code of MOTIONS) {
    const moved = seen.filter((event) => event.code === code)
    if (moved.length === 0 || sent.some((each) => each.code === code)) continue
    const sum = moved.reduce((total, event) => total + event.value, 0)
    differences.push(`saw ${describe({ type: 'rel', code, value: sum })}, which was not sent`)
    duplicated++
  }
  return { pairs, differences, lost, duplicated }
}

/**
 * One sample a press, a position or a motion: releases say nothing new. Strokes that left in one call share its time,
 * so that the latency of the later ones includes the guest's work on those before.
 */
function samplesOf(pairs: readonly [SentEvent, ObservedEvent][], observer: InputObserver): LatencySample[] {
  const samples: LatencySample[] = []
  let lastMoveAtNs: bigint | undefined
  for (const [{ atNs }, event] of pairs) {
    if (event.type === 'key' && event.value !== 1) continue
    if (event.type !== 'key') {
      // Both axes of one move are one input.
      if (lastMoveAtNs === atNs) continue
      lastMoveAtNs = atNs
    }
    const { hostNs, boundNs, invalid } = observer.toHostTime(event.guestNs, { fromNs: atNs, toNs: event.arrivedNs })
    samples.push({
      latencyMs: Number(hostNs - atNs) / 1e6,
      boundMs: Number(boundNs) / 1e6,
      loopMs: Number(event.arrivedNs - atNs) / 1e6,
      ...(event.first ? { warmup: true } : {}),
      ...(invalid === undefined ? {} : { invalid }),
    })
  }
  return samples
}

function stuckKeys(seen: readonly ObservedEvent[], held: ReadonlySet<number>): string[] {
  const down = new Set<number>()
  for (const event of seen) {
    if (event.type !== 'key') continue
    if (event.value === 0) down.delete(event.code)
    else down.add(event.code)
  }
  return [...down].filter((code) => !held.has(code)).map(evdevKeyName)
}

class Differences {
  readonly #lines: string[] = []
  #count = 0
  add(line: string): void {
    this.#count++
    if (this.#lines.length < MAX_DIFFERENCES_SHOWN) this.#lines.push(line)
  }
  lines(): string[] {
    const more = this.#count - this.#lines.length
    return more > 0 ? [...this.#lines, `… and ${more} more`] : this.#lines
  }
}
