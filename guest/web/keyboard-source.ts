import { unsupportedError } from '../../framework/core/errors.ts'
import type { InputSink, InputSource } from '../core/index.ts'
import type { ExpectedInput } from '../protocol/index.ts'
import { evdevCodeOf } from './key-codes.ts'
import type { PageClock } from './page-clock.ts'
import { Sinks } from './sinks.ts'

const RELEASE = 0
const PRESS = 1
const AUTOREPEAT = 2
const CAPTURE = { capture: true }
/** Browsers show the page in full screen with it, or no longer, and do not tell the page. */
const KEY_F11 = 87

/**
 * Keys that the browser tells the page of, by their place on the keyboard. Keys go to the page only while it has the
 * focus, so that losing it is a gap. What a browser or the system keeps for itself (Alt+Tab, Ctrl+W) never comes.
 */
export class KeyboardSource implements InputSource {
  readonly device = 'keyboard'
  readonly #sinks = new Sinks()

  /** @param typesInto whether keys that go to this element are to do what they do; elsewhere they do nothing while watched */
  constructor(clock: PageClock, typesInto: (target: EventTarget | null) => boolean) {
    const see = (event: KeyboardEvent, value: number) => {
      const guestNs = clock.nowNs()
      // Scripts, an extension's for example, may make events too.
      if (!event.isTrusted || !this.#sinks.watched) return
      if (!typesInto(event.target)) event.preventDefault()
      this.#sinks.onInput({ kind: 'key', code: evdevCodeOf(event.code), value, guestNs })
    }
    addEventListener('keydown', (event) => see(event, event.repeat ? AUTOREPEAT : PRESS), CAPTURE)
    addEventListener('keyup', (event) => see(event, RELEASE), CAPTURE)
    addEventListener('blur', (event) => {
      if (event.target === window) this.#sinks.onGap('the page lost the keyboard focus')
    })
    document.addEventListener('visibilitychange', () => {
      if (document.hidden) this.#sinks.onGap('the page is hidden')
    })
  }

  async watch(sink: InputSink): Promise<() => void> {
    if (document.hidden || !document.hasFocus()) {
      throw unsupportedError('ATP_VERIFIER_DEVICE', 'the page does not have the keyboard focus', {
        remedy: 'click into the page in the guest, and open nothing over it',
      })
    }
    return this.#sinks.add(sink)
  }

  expecting(entries: readonly ExpectedInput[]): void {
    if (entries.some(([, code]) => code === KEY_F11)) this.#sinks.onGap('browsers keep F11 for themselves')
  }
}
