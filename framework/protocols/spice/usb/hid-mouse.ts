import type { CallOptions } from '../../../core/deadline.ts'
import { HidDevice } from './hid-device.ts'

/** The report of HID 1.11 appendix B.2 with a wheel: buttons, then x, y and wheel, each from -127 to 127. */
// prettier-ignore
const REPORT_DESCRIPTOR = Uint8Array.of(
  0x05, 0x01, 0x09, 0x02, 0xa1, 0x01, 0x09, 0x01, 0xa1, 0x00,
  0x05, 0x09, 0x19, 0x01, 0x29, 0x03, 0x15, 0x00, 0x25, 0x01, 0x75, 0x01, 0x95, 0x03, 0x81, 0x02,
  0x75, 0x05, 0x95, 0x01, 0x81, 0x01,
  0x05, 0x01, 0x09, 0x30, 0x09, 0x31, 0x09, 0x38, 0x15, 0x81, 0x25, 0x7f, 0x75, 0x08, 0x95, 0x03, 0x81, 0x06,
  0xc0, 0xc0,
)
const REPORT_BYTES = 4
const STEP_MAX = 127
const BUTTONS = { left: 1, right: 2, middle: 4 } as const
export type UsbMouseButton = keyof typeof BUTTONS

/** A USB mouse with three buttons and a wheel. */
export class HidMouse extends HidDevice {
  #buttons = 0

  constructor() {
    super({
      name: 'mouse',
      product: 'ATP USB Mouse',
      productId: 2,
      protocol: 2,
      reportDescriptor: REPORT_DESCRIPTOR,
      reportBytes: REPORT_BYTES,
    })
  }

  /** Moves by so many counts, right and down; far moves are several reports. @throws what {@link HidDevice.send} throws. */
  async moveBy(dx: number, dy: number, options: CallOptions = {}): Promise<void> {
    const steps = Math.max(1, Math.ceil(Math.max(Math.abs(dx), Math.abs(dy)) / STEP_MAX))
    const [x, y] = [Math.round(dx), Math.round(dy)]
    for (let step = 1; step <= steps; step++) {
      await this.#report(part(x, step, steps), part(y, step, steps), 0, options)
    }
  }

  /** Presses a button down. @throws what {@link HidDevice.send} throws. */
  async down(button: UsbMouseButton, options: CallOptions = {}): Promise<void> {
    await this.#report(0, 0, 0, options, (held) => held | BUTTONS[button])
  }

  /** Lets a button go. @throws what {@link HidDevice.send} throws. */
  async up(button: UsbMouseButton, options: CallOptions = {}): Promise<void> {
    await this.#report(0, 0, 0, options, (held) => held & ~BUTTONS[button])
  }

  /** Presses a button and lets it go. @throws what {@link HidDevice.send} throws. */
  async click(button: UsbMouseButton, options: CallOptions = {}): Promise<void> {
    await this.down(button, options)
    await this.up(button, options)
  }

  /** Turns the wheel by so many notches, down where positive. @throws what {@link HidDevice.send} throws. */
  async scroll(notches: number, options: CallOptions = {}): Promise<void> {
    const steps = Math.ceil(Math.abs(notches) / STEP_MAX)
    for (let step = 1; step <= steps; step++) {
      await this.#report(0, 0, -part(Math.round(notches), step, steps), options)
    }
  }

  override reset(): void {
    super.reset()
    this.#buttons = 0
  }

  protected override currentReport(): Uint8Array {
    return Uint8Array.of(this.#buttons, 0, 0, 0)
  }

  async #report(
    dx: number,
    dy: number,
    wheel: number,
    options: CallOptions,
    change: (buttons: number) => number = (same) => same,
  ): Promise<void> {
    await this.send(() => {
      this.#buttons = change(this.#buttons)
      return Uint8Array.of(this.#buttons, dx & 0xff, dy & 0xff, wheel & 0xff)
    }, options)
  }
}

/** The share of one of several steps; all shares together are the whole. */
function part(whole: number, step: number, steps: number): number {
  return Math.round((whole * step) / steps) - Math.round((whole * (step - 1)) / steps)
}
