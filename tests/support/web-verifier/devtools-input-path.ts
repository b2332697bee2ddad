import { sleep } from '../../../framework/core/index.ts'
import type { InputEvent, InputPath } from '../../../framework/input/index.ts'
import { keyOfQcode } from '../../../framework/keys/index.ts'
import type { HeadlessChromium } from '../headless-chromium.ts'

const ABS_MAX = 32_767
const BUTTONS = {
  left: ['left', 1],
  right: ['right', 2],
  middle: ['middle', 4],
  side: ['back', 8],
  extra: ['forward', 16],
} as const
const NOTCH_PX = 120

/** Says what becomes of an event on its way: it is sent, or these instead. */
export type Damage = (event: InputEvent) => readonly InputEvent[]

/**
 * The way of input into a browser that its own DevTools have: in place of a hypervisor and a guest's system. Whether the
 * page sees it, and when, is the browser's doing.
 */
export class DevtoolsInputPath implements InputPath {
  readonly name = { via: 'qmp', device: 'virtio' } as const
  damage: Damage = (event) => [event]
  /** How long each injection is held up. */
  delayMs = 0
  /** Of the last key pressed, host time: its start, when the browser was given it, and when it had handled it. */
  readonly lastPress = { atNs: 0n, givenNs: 0n, handledNs: 0n }
  readonly #browser: HeadlessChromium
  readonly #screen: { width: number; height: number }
  readonly #at = { x: 0, y: 0 }
  #buttons = 0
  #sent: Promise<unknown> = Promise.resolve()

  constructor(browser: HeadlessChromium, screen: { width: number; height: number }) {
    this.#browser = browser
    this.#screen = screen
  }

  async inject(events: readonly InputEvent[]): Promise<{ atNs: bigint }> {
    const atNs = process.hrtime.bigint()
    if (this.delayMs > 0) await sleep(this.delayMs)
    const damaged = events.flatMap((event) => this.damage(event))
    const positions = damaged.filter((event) => event.type === 'abs')
    for (const { axis, value } of positions) {
      const size = axis === 'x' ? this.#screen.width : this.#screen.height
      this.#at[axis] = Math.round((value * (size - 1)) / ABS_MAX)
    }
    if (positions.length > 0) this.#mouse('mouseMoved')
    for (const event of damaged) if (event.type !== 'abs') this.#send(event, atNs)
    return { atNs }
  }

  /** Resolves when the browser has taken all that was sent. */
  async settled(): Promise<void> {
    await this.#sent
  }

  #send(event: Exclude<InputEvent, { type: 'abs' }>, atNs: bigint): void {
    if (event.type === 'key') return this.#key(event.qcode, event.down, atNs)
    if (event.type === 'rel') {
      this.#at[event.axis] += event.value
      return this.#mouse('mouseMoved')
    }
    if (event.button === 'wheel-up' || event.button === 'wheel-down') {
      if (event.down)
        this.#mouse('mouseWheel', { deltaX: 0, deltaY: event.button === 'wheel-up' ? -NOTCH_PX : NOTCH_PX })
      return
    }
    const [button, bit] = BUTTONS[event.button]
    this.#buttons = event.down ? this.#buttons | bit : this.#buttons & ~bit
    this.#mouse(event.down ? 'mousePressed' : 'mouseReleased', { button, clickCount: 1 })
  }

  #key(qcode: string, down: boolean, atNs: bigint): void {
    const code = keyOfQcode(qcode)?.code
    const givenNs = process.hrtime.bigint()
    const handled = this.#dispatch('Input.dispatchKeyEvent', { type: down ? 'rawKeyDown' : 'keyUp', code })
    if (!down) return
    const note = () => Object.assign(this.lastPress, { atNs, givenNs, handledNs: process.hrtime.bigint() })
    handled.then(note, () => {})
  }

  #mouse(type: string, further: Record<string, unknown> = {}): void {
    void this.#dispatch('Input.dispatchMouseEvent', { type, ...this.#at, buttons: this.#buttons, ...further })
  }

  #dispatch(method: string, params: Record<string, unknown>): Promise<unknown> {
    const answer = this.#browser.send(method, params)
    this.#sent = Promise.all([this.#sent, answer])
    // Whoever waits for the settling learns it.
    this.#sent.catch(() => {})
    return answer
  }
}
