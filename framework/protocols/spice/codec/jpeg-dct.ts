// The inverse cosine transform in whole numbers, as the reference decoder rounds it: one dimension after the other,
// factors scaled by 2^13, two extra bits kept between the passes.

const FACTOR_BITS = 13
const EXTRA_BITS = 2
const HALF_1 = 1 << (FACTOR_BITS - EXTRA_BITS - 1)
const SHIFT_1 = FACTOR_BITS - EXTRA_BITS
const SHIFT_2 = FACTOR_BITS + EXTRA_BITS + 3
/** Half, and the 128 by which samples are above zero. */
const HALF_2 = (1 << (SHIFT_2 - 1)) + (128 << SHIFT_2)

const columns = new Int32Array(64)

/**
 * Turns the coefficients of a block into 8×8 samples.
 *
 * @param highest index in zigzag order above which all coefficients are 0.
 * @param at where the first sample goes, `lineSamples` from line to line.
 */
export function inverseDct(
  block: Int32Array,
  highest: number,
  samples: Uint8Array,
  at: number,
  lineSamples: number,
): void {
  if (highest === 0) {
    const value = clamp((((block[0] as number) + 4) >> 3) + 128)
    for (let y = 0, to = at; y < 8; y++, to += lineSamples) samples.fill(value, to, to + 8)
    return
  }
  for (let x = 0; x < 8; x++) {
    const c0 = (block[x] as number) << FACTOR_BITS
    const c1 = block[x + 8] as number
    const c2 = block[x + 16] as number
    const c3 = block[x + 24] as number
    const c4 = (block[x + 32] as number) << FACTOR_BITS
    const c5 = block[x + 40] as number
    const c6 = block[x + 48] as number
    const c7 = block[x + 56] as number
    const inner = Math.imul(c2, 10703) + Math.imul(c6, 4433)
    const outer = Math.imul(c2, 4433) - Math.imul(c6, 10704)
    const even0 = c0 + c4 + inner + HALF_1
    const even3 = c0 + c4 - inner + HALF_1
    const even1 = c0 - c4 + outer + HALF_1
    const even2 = c0 - c4 - outer + HALF_1
    const odd0 = Math.imul(c1, 11363) + Math.imul(c3, 9633) + Math.imul(c5, 6437) + Math.imul(c7, 2260)
    const odd1 = Math.imul(c1, 9633) - Math.imul(c3, 2259) - Math.imul(c5, 11362) - Math.imul(c7, 6436)
    const odd2 = Math.imul(c1, 6437) - Math.imul(c3, 11362) + Math.imul(c5, 2261) + Math.imul(c7, 9633)
    const odd3 = Math.imul(c1, 2260) - Math.imul(c3, 6436) + Math.imul(c5, 9633) - Math.imul(c7, 11363)
    columns[x] = (even0 + odd0) >> SHIFT_1
    columns[x + 8] = (even1 + odd1) >> SHIFT_1
    columns[x + 16] = (even2 + odd2) >> SHIFT_1
    columns[x + 24] = (even3 + odd3) >> SHIFT_1
    columns[x + 32] = (even3 - odd3) >> SHIFT_1
    columns[x + 40] = (even2 - odd2) >> SHIFT_1
    columns[x + 48] = (even1 - odd1) >> SHIFT_1
    columns[x + 56] = (even0 - odd0) >> SHIFT_1
  }
  for (let y = 0, row = 0, to = at; y < 8; y++, row += 8, to += lineSamples) {
    const c0 = (columns[row] as number) << FACTOR_BITS
    const c1 = columns[row + 1] as number
    const c2 = columns[row + 2] as number
    const c3 = columns[row + 3] as number
    const c4 = (columns[row + 4] as number) << FACTOR_BITS
    const c5 = columns[row + 5] as number
    const c6 = columns[row + 6] as number
    const c7 = columns[row + 7] as number
    const inner = Math.imul(c2, 10703) + Math.imul(c6, 4433)
    const outer = Math.imul(c2, 4433) - Math.imul(c6, 10704)
    const even0 = c0 + c4 + inner + HALF_2
    const even3 = c0 + c4 - inner + HALF_2
    const even1 = c0 - c4 + outer + HALF_2
    const even2 = c0 - c4 - outer + HALF_2
    const odd0 = Math.imul(c1, 11363) + Math.imul(c3, 9633) + Math.imul(c5, 6437) + Math.imul(c7, 2260)
    const odd1 = Math.imul(c1, 9633) - Math.imul(c3, 2259) - Math.imul(c5, 11362) - Math.imul(c7, 6436)
    const odd2 = Math.imul(c1, 6437) - Math.imul(c3, 11362) + Math.imul(c5, 2261) + Math.imul(c7, 9633)
    const odd3 = Math.imul(c1, 2260) - Math.imul(c3, 6436) + Math.imul(c5, 9633) - Math.imul(c7, 11363)
    samples[to] = clamp((even0 + odd0) >> SHIFT_2)
    samples[to + 1] = clamp((even1 + odd1) >> SHIFT_2)
    samples[to + 2] = clamp((even2 + odd2) >> SHIFT_2)
    samples[to + 3] = clamp((even3 + odd3) >> SHIFT_2)
    samples[to + 4] = clamp((even3 - odd3) >> SHIFT_2)
    samples[to + 5] = clamp((even2 - odd2) >> SHIFT_2)
    samples[to + 6] = clamp((even1 - odd1) >> SHIFT_2)
    samples[to + 7] = clamp((even0 - odd0) >> SHIFT_2)
  }
}

function clamp(value: number): number {
  return value < 0 ? 0 : value > 255 ? 255 : value
}
