import { unsupportedError } from '../core/index.ts'
import type { InputPathName } from '../evidence/events.ts'
import { keyOfQcode } from '../keys/index.ts'
import type { InjectOptions, InputEvent, InputPath } from './api.ts'

/** Bounds of one message, and the moment it leaves. */
type SendOptions = InjectOptions & { onSend?: () => void }

/** The inputs channel of a SPICE session. Scan codes are those of set 1, `0xe0XX` with the e0 prefix. */
export interface SpiceInputs {
  keyDown(scancode: number, options?: SendOptions): Promise<void>
  keyUp(scancode: number, options?: SendOptions): Promise<void>
  mouseMotion(dx: number, dy: number, options?: SendOptions): Promise<void>
  /** Pixels of the screen. */
  mousePosition(x: number, y: number, options?: SendOptions): Promise<void>
  mousePress(button: SpiceButton, options?: SendOptions): Promise<void>
  mouseRelease(button: SpiceButton, options?: SendOptions): Promise<void>
  /** Positive notches down. */
  wheel(notches: number, options?: SendOptions): Promise<void>
}

type SpiceButton = 'left' | 'middle' | 'right' | 'side' | 'extra'

/** What the screen is now, pixels. */
type ScreenSize = Readonly<{ width: number; height: number }>

/** Where a pointer was put, pixels. A message holds both axes, also where only one of them is asked for. */
export interface PointerPosition {
  x: number
  y: number
}

/** Positions on QEMU's absolute axes. */
const ABS_MAX = 32_767

/**
 * Injects as a user's client does: through the inputs channel of a SPICE session. The server hands it to the device
 * that QEMU would hand QMP's input to. Positions go in whole pixels.
 */
export class SpiceInputPath implements InputPath {
  readonly name: InputPathName
  readonly #inputs: SpiceInputs
  readonly #screen: ScreenSize | undefined
  readonly #at: PointerPosition

  /**
   * @param device the bus of the device that QEMU delivers to.
   * @param pointer needed for positions only: the screen, and where earlier paths to the VM put the pointer.
   */
  constructor(
    inputs: SpiceInputs,
    device: InputPathName['device'],
    { screen, at }: { screen?: ScreenSize; at: PointerPosition } = { at: { x: 0, y: 0 } },
  ) {
    this.#inputs = inputs
    this.#screen = screen
    this.#at = at
    this.name = { via: 'spice', device }
  }

  async inject(
    events: readonly InputEvent[],
    options: InjectOptions = {},
  ): Promise<{ atNs: bigint; eachAtNs: readonly bigint[] }> {
    const eachAtNs = events.map(() => 0n)
    // Motion and position go in one message for both axes, after keys and buttons.
    const together: number[] = []
    const moved = { x: 0, y: 0 }
    let [moves, positioned] = [false, false]
    for (const [index, event] of events.entries()) {
      if (event.type === 'rel') {
        moved[event.axis] += event.value
        moves = true
        together.push(index)
      } else if (event.type === 'abs') {
        this.#at[event.axis] = this.#pixelOf(event.axis, event.value)
        positioned = true
        together.push(index)
      } else await this.#press(event, { ...options, onSend: () => void (eachAtNs[index] = process.hrtime.bigint()) })
    }
    const onSend = () => {
      const nowNs = process.hrtime.bigint()
      for (const index of together) eachAtNs[index] = nowNs
    }
    if (moves) await this.#inputs.mouseMotion(moved.x, moved.y, { ...options, onSend })
    if (positioned) await this.#inputs.mousePosition(this.#at.x, this.#at.y, { ...options, onSend })
    return { atNs: eachAtNs[0] ?? process.hrtime.bigint(), eachAtNs }
  }

  /** QEMU turns pixels into positions on its axis by the size of the screen, and rounds down. */
  nearest(axis: 'x' | 'y', value: number): number {
    return Math.floor((this.#pixelOf(axis, value) * ABS_MAX) / this.#sizeOf(axis))
  }

  step(axis: 'x' | 'y'): number {
    return Math.ceil(ABS_MAX / this.#lastOf(axis))
  }

  #press(event: Extract<InputEvent, { down: boolean }>, send: SendOptions): Promise<void> {
    if (event.type === 'key') {
      const scancode = keyOfQcode(event.qcode)?.scancode
      if (scancode === undefined) {
        throw unsupportedError('ATP_KEY_DEVICE', `SPICE has no way to press the key "${event.qcode}"`, {
          remedy: "use via: 'qmp'",
        })
      }
      return event.down ? this.#inputs.keyDown(scancode, send) : this.#inputs.keyUp(scancode, send)
    }
    const { button, down } = event
    // One message pair turns the wheel by a notch, which the press stands for.
    if (button === 'wheel-up' || button === 'wheel-down') {
      return down ? this.#inputs.wheel(button === 'wheel-down' ? 1 : -1, send) : Promise.resolve()
    }
    return down ? this.#inputs.mousePress(button, send) : this.#inputs.mouseRelease(button, send)
  }

  #pixelOf(axis: 'x' | 'y', value: number): number {
    return Math.round((value * this.#lastOf(axis)) / ABS_MAX)
  }

  /** The number of the last pixel, which is the end of the axis. */
  #lastOf(axis: 'x' | 'y'): number {
    return Math.max(1, this.#sizeOf(axis) - 1)
  }

  #sizeOf(axis: 'x' | 'y'): number {
    if (!this.#screen) throw unsupportedError('ATP_INPUT_VIA', 'the screen that positions belong to is not known')
    return axis === 'x' ? this.#screen.width : this.#screen.height
  }
}
