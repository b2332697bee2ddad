/**
 * The numbers of QUIC that adapt nothing: code lengths, classes of residuals, and the tables of pseudo-random waits and
 * run orders.
 */

/** Longest code word of a residual, in bits. */
const MAX_CODE_BITS = 26

/**
 * Golomb–Rice codes for residuals of one depth. Parameter `k` writes a residual as a unary quotient and `k` low bits; a
 * quotient that would reach `prefixLimit[k]` is written as that many zeros and the rest of the value in plain bits.
 */
export interface CodeTable {
  /** Bits of a residual, and number of parameters `k`. */
  readonly depth: number
  /** Number of different residuals. */
  readonly levels: number
  readonly prefixLimit: Uint8Array
  /** First value that is written in plain bits. */
  readonly escapeBase: Uint16Array
  /** Bits of such a code word, with its prefix. */
  readonly escapeLength: Uint8Array
  /** Mask of its plain bits. */
  readonly escapeMask: Uint8Array
  /** Bits of the code word of residual `r` under `k`, at `r * depth + k`. */
  readonly codeLength: Uint8Array
  /** Class of a residual: residuals follow each other in classes of 1, 2, 4, 8… which learn a `k` each. */
  readonly bucketOf: Uint8Array
  /** First residual of each class, and at the end the number of residuals. */
  readonly bucketStart: readonly number[]
}

function makeCodeTable(depth: number): CodeTable {
  const levels = 1 << depth
  const prefixLimit = new Uint8Array(depth)
  const escapeBase = new Uint16Array(depth)
  const escapeLength = new Uint8Array(depth)
  const escapeMask = new Uint8Array(depth)
  const codeLength = new Uint8Array(levels * depth)
  for (let k = 0; k < depth; k++) {
    const limit = Math.min(MAX_CODE_BITS - depth, (1 << (depth - k)) - 1)
    const base = limit << k
    const plainBits = 32 - Math.clz32(levels - base - 1)
    prefixLimit[k] = limit
    escapeBase[k] = base
    escapeLength[k] = limit + plainBits
    escapeMask[k] = (1 << plainBits) - 1
    for (let residual = 0; residual < levels; residual++) {
      codeLength[residual * depth + k] = residual < base ? (residual >>> k) + 1 + k : limit + plainBits
    }
  }
  const { bucketOf, bucketStart } = makeBuckets(levels)
  return { depth, levels, prefixLimit, escapeBase, escapeLength, escapeMask, codeLength, bucketOf, bucketStart }
}

function makeBuckets(levels: number): Pick<CodeTable, 'bucketOf' | 'bucketStart'> {
  const bucketOf = new Uint8Array(levels)
  const bucketStart = [0]
  for (let start = 0, size = 1; start < levels; size *= 2) {
    // The last class takes a remainder that is too small for the next one.
    const end = start + size * 2 > levels ? levels : start + size
    bucketOf.fill(bucketStart.length - 1, start, end)
    bucketStart.push(end)
    start = end
  }
  return { bucketOf, bucketStart }
}

/** Codes of images with 5 bits per colour, and of all others. */
export const CODES_5 = makeCodeTable(5)
export const CODES_8 = makeCodeTable(8)

/** Highest level of waits. */
export const LAST_LEVEL = 6
/** Pixels that a level lasts; at level `n`, up to `2^n - 1` pixels pass between two that are learnt from. */
export const LEVEL_PIXELS = 2048

/** By level: bits spent on the best code of a class above which the counters of the class are halved. */
export const HALVE_ABOVE = Uint16Array.of(110, 550, 900, 800, 550, 400, 350)

/** By state: a run of `1 << order` pixels is one bit. As in JPEG-LS. */
export const RUN_ORDER = Uint8Array.from([
  0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13, 14, 15,
])

/** The low six bits of the pseudo-random waits, one a letter: the alphabet is base64's, its values are the waits. */
const WAIT_LETTERS =
  'CXTVHSoOMgvskGSLETqdQ/5zQDFOPeUJktD59AIFpOrbr7fjn8qmN2+BaDL90iHw' +
  'E7WMWIyEKGsILufz1RBru8k2KbnsWpXCsAo1owQrgchMUC4+36SUN3md5Txhv/7A' +
  'j9TZum8EjBaocKFOZSwxU7+iuHh0i6JdI3+8lklyGDKcwYa95eL2CGyvHRj1gMXR' +
  'FVx3zt0bnZn/WYq04mpp4gNYazb46lYqPcRefPQXZ2hiBdfy1VxPvJA6lteNJt/V'
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'

/** 256 waits, taken in turn. */
export const WAITS = Uint8Array.from(WAIT_LETTERS, (letter) => ALPHABET.indexOf(letter))
