import type { CodeTable } from './quic-tables.ts'

/** What has been learnt about one component of the pixels: red, green, blue, alpha or grey. */
export class QuicChannel {
  readonly #codes: CodeTable
  /** Bits that the residuals learnt from would have cost, at `bucket * depth + k`. */
  readonly #costs: Uint32Array
  /** The cheapest `k` after each residual. */
  readonly best: Uint8Array
  /**
   * Residuals of the row at `x + 1`. Pixels in runs have none and leave what a row before left. Before the first is
   * the first of the row above.
   */
  readonly residuals: Uint8Array

  constructor(codes: CodeTable, width: number) {
    this.#codes = codes
    this.#costs = new Uint32Array(codes.depth * (codes.bucketStart.length - 1))
    this.best = new Uint8Array(codes.levels).fill(codes.depth - 1)
    this.residuals = new Uint8Array(width + 1)
  }

  /** Counts what the residual of pixel `x` would have cost under each code, and chooses anew. */
  learn(x: number, halveAbove: number): void {
    const { depth, codeLength, bucketOf, bucketStart } = this.#codes
    const costs = this.#costs
    const previous = this.residuals[x] as number
    const bucket = bucketOf[previous] as number
    const at = bucket * depth
    const lengths = (this.residuals[x + 1] as number) * depth
    let least = Infinity
    let best = 0
    for (let k = depth - 1; k >= 0; k--) {
      const cost = (costs[at + k] as number) + (codeLength[lengths + k] as number)
      costs[at + k] = cost
      if (cost < least) {
        least = cost
        best = k
      }
    }
    if (best !== this.best[previous]) this.best.fill(best, bucketStart[bucket], bucketStart[bucket + 1])
    if (least <= halveAbove) return
    for (let k = 0; k < depth; k++) costs[at + k] = (costs[at + k] as number) >>> 1
  }
}
