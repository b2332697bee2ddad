import type { CallOptions } from '../../../core/deadline.ts'
import { tooManyKeysError, unknownKeyError } from './errors.ts'
import { HidDevice } from './hid-device.ts'
import { FIRST_MODIFIER, usageOf } from './hid-usages.ts'

/** As many as a report of the boot protocol holds. */
const KEYS_MAX = 6
const LAST_ORDINARY = 0xdd
/** The report of HID 1.11 appendix B.1: modifiers, a reserved byte, six keys; five lights the other way. */
// prettier-ignore
const REPORT_DESCRIPTOR = Uint8Array.of(
  0x05, 0x01, 0x09, 0x06, 0xa1, 0x01,
  0x05, 0x07, 0x19, 0xe0, 0x29, 0xe7, 0x15, 0x00, 0x25, 0x01, 0x75, 0x01, 0x95, 0x08, 0x81, 0x02,
  0x75, 0x08, 0x95, 0x01, 0x81, 0x01,
  0x05, 0x08, 0x19, 0x01, 0x29, 0x05, 0x75, 0x01, 0x95, 0x05, 0x91, 0x02,
  0x75, 0x03, 0x95, 0x01, 0x91, 0x01,
  0x05, 0x07, 0x19, 0x00, 0x29, LAST_ORDINARY, 0x15, 0x00, 0x26, LAST_ORDINARY, 0x00, 0x75, 0x08, 0x95, KEYS_MAX, 0x81, 0x00,
  0xc0,
)
const LIGHTS = ['numLock', 'capsLock', 'scrollLock', 'compose', 'kana'] as const
export type KeyboardLight = (typeof LIGHTS)[number]

/** A USB keyboard. Keys are named by `KeyboardEvent.code`. */
export class HidKeyboard extends HidDevice {
  readonly #down = new Set<number>()
  #lights = 0

  constructor() {
    super({
      name: 'keyboard',
      product: 'ATP USB Keyboard',
      productId: 1,
      protocol: 1,
      reportDescriptor: REPORT_DESCRIPTOR,
      reportBytes: 2 + KEYS_MAX,
    })
  }

  /** Lights that the guest has switched on. */
  get lights(): readonly KeyboardLight[] {
    return LIGHTS.filter((_, bit) => ((this.#lights >>> bit) & 1) === 1)
  }

  /** Presses a key down. @throws `ATP_SPICE_USB_KEY`, `ATP_SPICE_USB_KEYS`, what {@link HidDevice.send} throws. */
  async down(code: string, options: CallOptions = {}): Promise<void> {
    const usage = usageOfKey(code)
    await this.send(() => {
      const ordinary = [...this.#down].filter((key) => key < FIRST_MODIFIER && key !== usage)
      if (usage < FIRST_MODIFIER && ordinary.length >= KEYS_MAX) throw tooManyKeysError(KEYS_MAX)
      this.#down.add(usage)
      return this.currentReport()
    }, options)
  }

  /** Lets a key go. @throws `ATP_SPICE_USB_KEY`, what {@link HidDevice.send} throws. */
  async up(code: string, options: CallOptions = {}): Promise<void> {
    const usage = usageOfKey(code)
    await this.send(() => {
      this.#down.delete(usage)
      return this.currentReport()
    }, options)
  }

  override reset(): void {
    super.reset()
    this.#down.clear()
    this.#lights = 0
  }

  protected override currentReport(): Uint8Array {
    const report = new Uint8Array(2 + KEYS_MAX)
    let at = 2
    for (const usage of this.#down) {
      if (usage >= FIRST_MODIFIER) report[0] = (report[0] as number) | (1 << (usage - FIRST_MODIFIER))
      else report[at++] = usage
    }
    return report
  }

  protected override onOutput(report: Uint8Array): void {
    this.#lights = report[0] ?? 0
  }
}

function usageOfKey(code: string): number {
  const usage = usageOf(code)
  if (usage === undefined) throw unknownKeyError(code)
  return usage
}
