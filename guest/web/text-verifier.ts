import { configError } from '../../framework/core/errors.ts'
import type { Verification, Verifier } from '../core/index.ts'
import type { VerifierEvent } from '../protocol/index.ts'

/** So long before its time limit a comparison is answered, so that the answer can say what differed. */
const EARLY_MS = 100

/**
 * Compares the text that typed keys made, layout and input method included, with the expected text. Only the
 * comparison leaves the page. Action `clear` empties the text area and gives it the focus; `equals`, the usual one,
 * waits until the area holds `metadata.text`, line ends being `\n`.
 */
export class TextVerifier implements Verifier {
  readonly verifierType = 'text'
  readonly #area: HTMLTextAreaElement
  #isComposing = false

  constructor(area: HTMLTextAreaElement) {
    this.#area = area
    area.addEventListener('compositionstart', () => (this.#isComposing = true))
    area.addEventListener('compositionend', () => (this.#isComposing = false))
  }

  /** @throws `ATP_VERIFIER_EVENT` */
  async verify({ action, metadata }: VerifierEvent, signal: AbortSignal): Promise<Verification> {
    if (action === 'clear') return this.#clear()
    const { text, timeout_ms: timeoutMs } = metadata
    if ((action !== 'equals' && action !== 'verify') || typeof text !== 'string') {
      throw configError('ATP_VERIFIER_EVENT', `a text event is "clear", or "equals" with a "text"`)
    }
    const wanted = text.replace(/\r\n?/g, '\n')
    const verified = await this.#holds(wanted, Math.max(0, timeoutMs - EARLY_MS), signal)
    return { verified, details: compare([...wanted], [...this.#area.value]) }
  }

  #clear(): Verification {
    this.#area.value = ''
    this.#area.focus()
    return { verified: document.activeElement === this.#area && document.hasFocus(), details: {} }
  }

  #holds(wanted: string, timeoutMs: number, signal: AbortSignal): Promise<boolean> {
    return new Promise((resolve) => {
      const finish = (verified: boolean) => {
        clearTimeout(timer)
        for (const type of EVENTS) this.#area.removeEventListener(type, check)
        signal.removeEventListener('abort', giveUp)
        resolve(verified)
      }
      // What is being composed stands in the area, but nobody has chosen it yet.
      const check = () => {
        if (!this.#isComposing && this.#area.value === wanted) finish(true)
      }
      const giveUp = () => finish(false)
      const timer = setTimeout(giveUp, timeoutMs)
      for (const type of EVENTS) this.#area.addEventListener(type, check)
      signal.addEventListener('abort', giveUp, { once: true })
      check()
    })
  }
}

const EVENTS = ['input', 'compositionend'] as const

function compare(wanted: readonly string[], found: readonly string[]): Verification['details'] {
  const first = wanted.findIndex((character, index) => character !== found[index])
  const differs = first >= 0 ? first : found.length > wanted.length ? wanted.length : undefined
  return {
    expected_characters: wanted.length,
    characters: found.length,
    ...(differs !== undefined && { first_difference: differs }),
  }
}
