/** `SPICE_ROPD_*`: bits of a raster operation descriptor. */
export const ROPD = {
  inversSrc: 1 << 0,
  inversBrush: 1 << 1,
  inversDest: 1 << 2,
  put: 1 << 3,
  or: 1 << 4,
  and: 1 << 5,
  xor: 1 << 6,
  blackness: 1 << 7,
  whiteness: 1 << 8,
  invers: 1 << 9,
  inversRes: 1 << 10,
} as const

/**
 * A raster operation of two operands as its truth table: bit `2 * s + d` is the result for the bits `s` of the source
 * and `d` of the destination.
 */
export type Rop2 = number

const S = 0b1100
const D = 0b1010
/** The destination becomes the source. */
export const ROP_COPY: Rop2 = S
/** Every bit of the destination is inverted. */
export const ROP_INVERT: Rop2 = ~D & 0b1111
export const ROP_CLEAR: Rop2 = 0
export const ROP_SET: Rop2 = 0b1111

/**
 * The operation of a descriptor.
 *
 * @param source which input is the first operand: the bit that inverts it.
 * @param destination likewise for the second.
 * @returns {@link ROP_COPY} when the descriptor names no operation, as spice-server has it.
 */
export function rop2Of(descriptor: number, source: number, destination: number): Rop2 {
  const s = descriptor & source ? ~S : S
  const d = descriptor & destination ? ~D : D
  const table = tableOf(descriptor, s, d)
  return (descriptor & ROPD.inversRes ? ~table : table) & 0b1111
}

function tableOf(descriptor: number, s: number, d: number): number {
  if (descriptor & ROPD.put) return s
  if (descriptor & ROPD.or) return s | d
  if (descriptor & ROPD.and) return s & d
  if (descriptor & ROPD.xor) return s ^ d
  if (descriptor & ROPD.blackness) return 0
  if (descriptor & ROPD.whiteness) return 0b1111
  if (descriptor & ROPD.invers) return ~d
  return s
}

type Words = Uint32Array<ArrayBuffer>

/**
 * Applies a raster operation to a row: `to[at]` and what follows with `from[start]` and what follows. The rows may be
 * the same memory only if they do not overlap or the operation is {@link ROP_COPY}.
 */
export function rop2Row(rop: Rop2, to: Words, at: number, from: Words, start: number, count: number): void {
  if (rop === ROP_COPY) {
    if (count > 24) to.set(from.subarray(start, start + count), at)
    else for (let n = 0; n < count; n++) to[at + n] = from[start + n] as number
    return
  }
  // The result is a sum of the four products whose bits are set.
  const both = rop & 8 ? -1 : 0
  const onlySource = rop & 4 ? -1 : 0
  const onlyDestination = rop & 2 ? -1 : 0
  const neither = rop & 1 ? -1 : 0
  for (let n = 0; n < count; n++) {
    const s = from[start + n] as number
    const d = to[at + n] as number
    to[at + n] = (s & ((d & both) | (~d & onlySource))) | (~s & ((d & onlyDestination) | (~d & neither)))
  }
}

/**
 * Applies a raster operation of three operands to a row.
 *
 * @param rop bit `4 * p + 2 * s + d` is the result for the bits of pattern, source and destination.
 */
export function rop3Row(
  rop: number,
  to: Words,
  at: number,
  source: Words,
  sourceAt: number,
  pattern: Words,
  patternAt: number,
  count: number,
): void {
  const products = Array.from({ length: 8 }, (_, bit) => ((rop >>> bit) & 1 ? -1 : 0))
  const [m0, m1, m2, m3, m4, m5, m6, m7] = products as [number, number, number, number, number, number, number, number]
  for (let n = 0; n < count; n++) {
    const p = pattern[patternAt + n] as number
    const s = source[sourceAt + n] as number
    const d = to[at + n] as number
    const withPattern = (s & ((d & m7) | (~d & m6))) | (~s & ((d & m5) | (~d & m4)))
    const without = (s & ((d & m3) | (~d & m2))) | (~s & ((d & m1) | (~d & m0)))
    to[at + n] = (p & withPattern) | (~p & without)
  }
}
