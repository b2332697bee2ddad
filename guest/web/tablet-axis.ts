import type { SeenInput } from '../core/index.ts'

/** Positions of a virtual tablet over the whole screen. */
export const ABS_MAX = 32_767
/** How near an expected position must be to be the one that a pointer of unknown origin moved to, pixels. */
const NEAR_PX = 1.5

/**
 * One axis of the pointer: pixels of the screen as positions of a tablet, told when they change.
 *
 * Where the pointer has been unknown, it cannot be told whether an axis changed; it did if that is what is expected.
 */
export class TabletAxis {
  /** Linux `ABS_X` or `ABS_Y`. */
  readonly code: 0 | 1
  /** The pixels of the screen that the page has, as the last event told; pointers elsewhere are not told of. */
  page: { start: number; end: number } | undefined
  readonly #sizePx: () => number
  #pixel: number | undefined
  /** The first position of a pointer whose origin is unknown, until it is known to be expected. */
  #first: SeenInput | undefined
  /** What has been expected while the pointer was unknown; undefined while nobody said what is. */
  #expected: Set<number> | undefined

  constructor(code: 0 | 1, sizePx: () => number) {
    this.code = code
    this.#sizePx = sizePx
  }

  /** The pointer is at a pixel. Returns what there is to tell. */
  at(pixel: number, guestNs: bigint): SeenInput | undefined {
    if (pixel === this.#pixel) return undefined
    const isSure = this.#pixel !== undefined || this.#expected === undefined
    this.#pixel = pixel
    const input: SeenInput = { kind: 'abs', code: this.code, value: Math.round(pixel * this.#unitsPerPixel), guestNs }
    this.#first = undefined
    if (isSure || [...(this.#expected ?? [])].some((value) => this.#isNear(value, input.value))) return input
    this.#first = input
    return undefined
  }

  /** Positions that are expected from now on. Returns one that came before. */
  expect(values: readonly number[]): SeenInput | undefined {
    const first = this.#first
    if (first && values.some((value) => this.#isNear(value, first.value))) {
      this.#first = undefined
      return first
    }
    this.#expected ??= new Set()
    if (this.#pixel === undefined) for (const value of values) this.#expected.add(value)
    else this.#expected.clear()
    return undefined
  }

  /** Whether the page may be told of a pointer at this position. */
  isWithin(value: number): boolean {
    const pixel = value / this.#unitsPerPixel
    return !this.page || (pixel >= this.page.start - NEAR_PX && pixel <= this.page.end - 1 + NEAR_PX)
  }

  /** Where the pointer is has become unknown. */
  forget(): void {
    this.#pixel = undefined
    this.#first = undefined
    this.#expected = undefined
  }

  get #unitsPerPixel(): number {
    return ABS_MAX / Math.max(1, this.#sizePx() - 1)
  }

  #isNear(expected: number, value: number): boolean {
    return Math.abs(expected - value) <= NEAR_PX * this.#unitsPerPixel
  }
}
