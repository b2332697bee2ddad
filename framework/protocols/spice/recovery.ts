import { sleep } from '../../core/deadline.ts'
import { isAtpError } from '../../core/errors.ts'
import type { SpiceChannel } from './channel.ts'
import { takenOverError } from './errors.ts'
import type { ChannelName } from './wire/numbers.ts'

const FIRST_DELAY_MS = 50
const MAX_DELAY_MS = 10_000
/** A channel that is lost again sooner was not mended. */
const MENDED_AFTER_MS = 5000
/** How often in a row a session may end, without an error, just after it began. */
const TAKEN_OVER_MAX = 2
/** The session first, then what a person would miss first. */
const ORDER: readonly ChannelName[] = ['main', 'inputs', 'display', 'cursor']

/**
 * Opens lost channels again: after 50 ms, then after twice as long each time up to ten seconds, until they are open
 * or an error shows that waiting will not help. With the main channel the whole session is lost; all begin anew then.
 * A server ends a session without a word when another client begins one. Two that both come back would do so for ever,
 * so one of them gives way: as a rule the one that was first.
 */
export class Recovery {
  readonly #channels = new Map<SpiceChannel, () => void>()
  #stop = new AbortController()
  #running = false
  #failures = 0
  #mendedAtMs = -Infinity
  #sessionAtMs = -Infinity
  #takenOver = 0

  watch(channel: SpiceChannel): void {
    const unwatch = channel.onStateChange(({ to, error }) => {
      if (to === 'lost') this.#lost(channel, error as Error)
      if (to === 'open' && channel.type === 'main') this.#sessionAtMs = performance.now()
    })
    this.#channels.set(channel, unwatch)
  }

  forget(channel: SpiceChannel): void {
    this.#channels.get(channel)?.()
    this.#channels.delete(channel)
  }

  /** Ends what is under way. A channel that is lost later is opened again. */
  stop(): void {
    this.#stop.abort()
    this.#stop = new AbortController()
    this.#running = false
    this.#failures = 0
    this.#takenOver = 0
    this.#mendedAtMs = -Infinity
  }

  #lost(channel: SpiceChannel, error: Error): void {
    const whole = channel.type === 'main' ? [...this.#channels.keys()] : [channel]
    for (const each of whole) if (each !== channel) each.lose(error)
    const final = isFinal(error) ? error : channel.type === 'main' ? this.#takenOverBy(channel, error) : undefined
    if (final) for (const each of whole) each.fail(final)
    else if (!this.#running) void this.#run(this.#stop.signal)
  }

  /** The error that ends the attempts when the session ended too often just after it began. */
  #takenOverBy(main: SpiceChannel, error: Error): Error | undefined {
    if (!isAtpError(error, 'ATP_SPICE_LOST') || error.cause !== undefined) return undefined
    if (performance.now() - this.#sessionAtMs > MENDED_AFTER_MS) this.#takenOver = 0
    else if (++this.#takenOver === TAKEN_OVER_MAX) return takenOverError(main.place, error)
    return undefined
  }

  async #run(signal: AbortSignal): Promise<void> {
    this.#running = true
    if (performance.now() - this.#mendedAtMs > MENDED_AFTER_MS) this.#failures = 0
    try {
      for (let lost = this.#lostChannels(); lost.length > 0; lost = this.#lostChannels()) {
        const delayMs = Math.min(FIRST_DELAY_MS * 2 ** this.#failures++, MAX_DELAY_MS)
        await sleep(delayMs * (0.8 + 0.4 * Math.random()), signal)
        await this.#openAll(signal)
      }
      this.#mendedAtMs = performance.now()
    } catch {
      // Only stop() ends a wait; whoever called it knows.
    } finally {
      if (this.#stop.signal === signal) this.#running = false
    }
  }

  async #openAll(signal: AbortSignal): Promise<void> {
    for (const channel of this.#lostChannels()) {
      // What this waits for, or the one before, may have changed the state.
      if (signal.aborted || channel.state !== 'lost') continue
      const opened = await channel.connect({ signal }).then(
        () => true,
        () => false,
      )
      if (!opened && channel.type === 'main') return
    }
  }

  #lostChannels(): SpiceChannel[] {
    const rank = ({ type }: SpiceChannel) => (ORDER.includes(type) ? ORDER.indexOf(type) : ORDER.length)
    return [...this.#channels.keys()]
      .filter((channel) => channel.state === 'lost')
      .toSorted((a, b) => rank(a) - rank(b))
  }
}

/** Whether another attempt would end the same way. */
function isFinal(error: Error): boolean {
  if (!isAtpError(error)) return false
  const { branch, code, retryable } = error
  if (branch === 'config' || branch === 'unsupported' || code === 'ATP_SPICE_AUTH') return true
  return branch === 'connect' && !retryable
}
