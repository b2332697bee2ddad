import { unsupportedError } from '../../framework/core/errors.ts'
import { BUTTONS } from '../../framework/keys/table.ts'
import type { InputSink, InputSource } from '../core/index.ts'
import type { ExpectedInput } from '../protocol/index.ts'
import type { PageClock } from './page-clock.ts'
import { ABS_MAX, TabletAxis } from './tablet-axis.ts'
import { Sinks } from './sinks.ts'
import { wheelNotches } from './wheel.ts'

/** `MouseEvent.button` → Linux code. */
const BUTTON_CODES = [BUTTONS.left, BUTTONS.middle, BUTTONS.right, BUTTONS.side, BUTTONS.extra] as const
const REL_X = 0
const REL_Y = 1
const REL_HWHEEL = 6
const REL_WHEEL = 8
/** Positions are told in whole pixels, and systems round them either way. */
const TOLERANCE_PX = 1.5
const LISTEN = { capture: true, passive: false }

/**
 * The pointer over the page: its place on the screen as a virtual tablet's position, buttons, notches of the wheel.
 *
 * A position is that of a pixel of the screen, as the browser counts them (`devicePixelRatio` of the screen's own), and
 * may be wrong by one and a half of those. How far a mouse moved cannot be told: the guest accelerates it.
 */
export class PointerSource implements InputSource {
  readonly device = 'mouse'
  readonly #sinks = new Sinks()
  readonly #axes = [new TabletAxis(0, () => screen.width), new TabletAxis(1, () => screen.height)] as const
  /** The pointer left the page and has not come back. */
  #isElsewhere = false
  /** Whether each motion is told; otherwise only the last of each picture. Needs a page from https or this machine. */
  readonly #tellsAll = 'onpointerrawupdate' in window

  /** @param isControl whether the page's own user works this element */
  constructor(clock: PageClock, isControl: (target: EventTarget | null) => boolean) {
    const on = <E extends Event>(type: string, see: (event: E, guestNs: bigint) => void) => {
      const listener = (event: Event) => {
        const guestNs = clock.nowNs()
        // Scripts, an extension's for example, may make events too.
        if (!event.isTrusted) return
        if (this.#sinks.watched && !isControl(event.target)) event.preventDefault()
        see(event as E, guestNs)
      }
      addEventListener(type, listener, LISTEN)
    }
    on<PointerEvent>(this.#tellsAll ? 'pointerrawupdate' : 'pointermove', (event, guestNs) => {
      const each = this.#tellsAll ? event.getCoalescedEvents() : []
      for (const one of each.length > 0 ? each : [event]) this.#move(one, guestNs)
    })
    on<MouseEvent>('mousedown', (event, guestNs) => this.#button(event, 1, guestNs))
    on<MouseEvent>('mouseup', (event, guestNs) => this.#button(event, 0, guestNs))
    on<WheelEvent>('wheel', (event, guestNs) => this.#turn(event, guestNs))
    for (const type of ['contextmenu', 'auxclick', 'dragstart']) on(type, () => {})
    addEventListener('blur', (event) => {
      if (event.target === window) this.#lose('the page lost the focus')
    })
    addEventListener('mouseout', ({ relatedTarget }) => {
      if (relatedTarget !== null) return
      this.#lose('the pointer left the page')
      this.#isElsewhere = true
    })
    document.addEventListener('visibilitychange', () => {
      if (document.hidden) this.#lose('the page is hidden')
    })
  }

  get tolerance(): number {
    return (TOLERANCE_PX * ABS_MAX) / (Math.min(screen.width, screen.height) - 1)
  }

  async watch(sink: InputSink): Promise<() => void> {
    if (!document.hidden) return this.#sinks.add(sink)
    throw unsupportedError('ATP_VERIFIER_DEVICE', 'the page is hidden', {
      remedy: 'bring it to the front in the guest',
    })
  }

  expecting(entries: readonly ExpectedInput[]): void {
    const isRelative = ([kind, code]: ExpectedInput) => kind === 'rel' && (code === REL_X || code === REL_Y)
    if (entries.some(isRelative)) this.#sinks.onGap('a browser does not tell how far a mouse moved, only where to')
    if (this.#isElsewhere && entries.some(([kind]) => kind !== 'abs')) {
      this.#sinks.onGap('the pointer is not over the page')
    }
    for (const axis of this.#axes) {
      const positions = entries.filter(([kind, code]) => kind === 'abs' && code === axis.code)
      if (positions.length > 1 && !this.#tellsAll) {
        this.#sinks.onGap(
          'the browser tells only the last position of each picture: open the page by https or localhost',
        )
      }
      const values = positions.map(([, , value]) => value)
      if (values.some((value) => !axis.isWithin(value))) this.#sinks.onGap('a place is outside the page')
      const late = axis.expect(values)
      if (late) this.#sinks.onInput(late)
    }
  }

  #move({ screenX, screenY, clientX, clientY }: MouseEvent, guestNs: bigint): void {
    this.#isElsewhere = false
    const places = [
      { axis: this.#axes[0], pixel: screenX, inPage: clientX, pagePx: innerWidth },
      { axis: this.#axes[1], pixel: screenY, inPage: clientY, pagePx: innerHeight },
    ]
    for (const { axis, pixel, inPage, pagePx } of places) {
      axis.page = { start: pixel - inPage, end: pixel - inPage + pagePx }
      const input = axis.at(Math.floor(pixel), guestNs)
      if (input) this.#sinks.onInput(input)
    }
  }

  #button(event: MouseEvent, value: 0 | 1, guestNs: bigint): void {
    this.#move(event, guestNs)
    this.#sinks.onInput({ kind: 'key', code: BUTTON_CODES[event.button] ?? 0, value, guestNs })
  }

  #turn(event: WheelEvent, guestNs: bigint): void {
    const { x, y } = wheelNotches(event as WheelEvent & { wheelDeltaX?: number; wheelDeltaY?: number })
    if (x !== 0) this.#sinks.onInput({ kind: 'rel', code: REL_HWHEEL, value: x, guestNs })
    if (y !== 0) this.#sinks.onInput({ kind: 'rel', code: REL_WHEEL, value: y, guestNs })
  }

  #lose(reason: string): void {
    for (const axis of this.#axes) axis.forget()
    this.#sinks.onGap(reason)
  }
}
