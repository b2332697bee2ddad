import type { SessionState } from './session.ts'
import type { InputCounts, Tally } from './tally.ts'
import { TEXTS, type Language, type TextName } from './texts.ts'

const COLUMNS = ['seen', 'lost', 'unexpected', 'reordered'] as const satisfies readonly (keyof InputCounts)[]

/** The element of the page with this id, which its HTML surely has. */
export function element<E extends HTMLElement>(id: string): E {
  return document.getElementById(id) as E
}

/** What the page shows: how it is connected, and what was verified as numbers. Never what was typed. */
export class View {
  readonly #tally: Tally
  readonly #clockStepNs: number
  #language: Language = navigator.language.startsWith('zh') ? 'zh' : 'en'
  #state: SessionState | undefined
  #retryAtMs = 0
  #isDrawn = true

  constructor(tally: Tally, clockStepNs: number) {
    this.#tally = tally
    this.#clockStepNs = clockStepNs
    element('language').addEventListener('click', () => {
      this.#language = this.#language === 'en' ? 'zh' : 'en'
      this.#translate()
    })
    element('fullscreen').addEventListener('click', () => void enterFullScreen())
    tally.onChange = () => {
      // At once, not with the next picture: a click that the test sends must not press them.
      element('controls').inert = tally.busy
      this.draw()
    }
    for (const type of ['focus', 'blur']) addEventListener(type, () => this.draw())
    setInterval(() => this.draw(), 1000)
    this.#translate()
  }

  set vmId(vmId: string) {
    element('vm').textContent = vmId
  }

  /** How the connection is; undefined while nobody said as whom to connect. */
  set state(state: SessionState | undefined) {
    this.#state = state
    if (state?.name === 'waiting') this.#retryAtMs = performance.now() + state.forMs
    element('access').hidden = state !== undefined && state.name !== 'refused'
    element('reason').hidden = !state || !('reason' in state)
    element('reason').textContent = state && 'reason' in state ? state.reason : ''
    this.draw()
  }

  /** Shows what is so now, with the next picture. */
  draw(): void {
    if (!this.#isDrawn) return
    this.#isDrawn = false
    requestAnimationFrame(() => {
      this.#isDrawn = true
      this.#draw()
    })
  }

  #draw(): void {
    const { input, verified, failed, gaps, roundTripMs } = this.#tally
    const name = this.#state?.name ?? 'access'
    const state = element('state')
    const seconds = Math.max(0, Math.ceil((this.#retryAtMs - performance.now()) / 1000))
    state.dataset['state'] = name
    state.textContent = this.#text(name).replace('{seconds}', String(seconds))
    const attentive = document.hasFocus()
    element('attention').toggleAttribute('data-attentive', attentive)
    element('focus').textContent = this.#text(attentive ? 'attentive' : 'inattentive')
    for (const device of ['keyboard', 'mouse'] as const) this.#row(device, input[device])
    element('events').textContent = `${verified} ${this.#text('verified')} · ${failed} ${this.#text('failed')}`
    element('gaps').textContent = String(gaps)
    element('round-trip').textContent = roundTripMs === undefined ? '–' : `${roundTripMs.toFixed(1)} ms`
    element('clock').textContent = `${(this.#clockStepNs / 1e6).toPrecision(1)} ms`
  }

  #row(device: 'keyboard' | 'mouse', counts: InputCounts): void {
    const heading = document.createElement('th')
    heading.scope = 'row'
    heading.textContent = this.#text(device)
    const cells = COLUMNS.map((column) => {
      const cell = document.createElement('td')
      cell.textContent = String(counts[column])
      cell.toggleAttribute('data-bad', column !== 'seen' && counts[column] > 0)
      return cell
    })
    element(device).replaceChildren(heading, ...cells)
  }

  #translate(): void {
    document.documentElement.lang = this.#language === 'zh' ? 'zh-CN' : 'en'
    document.title = this.#text('title')
    for (const each of document.querySelectorAll<HTMLElement>('[data-text]')) {
      each.textContent = this.#text(each.dataset['text'] as TextName)
    }
    this.draw()
  }

  #text(name: TextName): string {
    return TEXTS[this.#language][name]
  }
}

/** The whole screen, and the keys that the browser would keep for itself, where it gives them away. */
async function enterFullScreen(): Promise<void> {
  await document.documentElement.requestFullscreen({ navigationUI: 'hide' })
  const { keyboard } = navigator as Navigator & { keyboard?: { lock?(): Promise<void> } }
  await keyboard?.lock?.()
}
