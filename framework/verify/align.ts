/** Two sequences laid side by side: what both have in the same order, and what only one of them has. */
export interface Alignment {
  /** Indices `[in a, in b]` of the longest common subsequence. */
  matched: [number, number][]
  onlyA: number[]
  onlyB: number[]
}

/** Longest difference the alignment goes to; its memory grows with the square (16 MiB here). */
export const MAX_DIFFERENCES = 2048

/**
 * Aligns two sequences with the fewest insertions and deletions (E. W. Myers, "An O(ND) Difference Algorithm
 * and Its Variations", 1986). Returns undefined when they differ in more than 2048 places.
 */
export function align(a: readonly number[], b: readonly number[]): Alignment | undefined {
  let start = 0
  while (start < a.length && start < b.length && a[start] === b[start]) start++
  let endA = a.length
  let endB = b.length
  while (endA > start && endB > start && a[endA - 1] === b[endB - 1]) {
    endA--
    endB--
  }
  const middle = alignMiddle(a.slice(start, endA), b.slice(start, endB))
  if (!middle) return undefined
  const matched: [number, number][] = []
  for (let index = 0; index < start; index++) matched.push([index, index])
  for (const [left, right] of middle.matched) matched.push([left + start, right + start])
  for (let left = endA, right = endB; left < a.length; left++, right++) matched.push([left, right])
  return {
    matched,
    onlyA: middle.onlyA.map((index) => index + start),
    onlyB: middle.onlyB.map((index) => index + start),
  }
}

function alignMiddle(a: readonly number[], b: readonly number[]): Alignment | undefined {
  const limit = Math.min(a.length + b.length, MAX_DIFFERENCES)
  // furthest[diagonal + offset]: how far into `a` the best path on that diagonal (x - y) reaches.
  const offset = limit + 1
  const furthest = new Int32Array(2 * limit + 3)
  const history: Int32Array[] = []
  for (let edits = 0; edits <= limit; edits++) {
    history.push(furthest.slice(offset - edits - 1, offset + edits + 2))
    for (let diagonal = -edits; diagonal <= edits; diagonal += 2) {
      const below = furthest[offset + diagonal - 1] as number
      const above = furthest[offset + diagonal + 1] as number
      let x = diagonal === -edits || (diagonal !== edits && below < above) ? above : below + 1
      while (x < a.length && x - diagonal < b.length && a[x] === b[x - diagonal]) x++
      furthest[offset + diagonal] = x
      if (x >= a.length && x - diagonal >= b.length) return traceBack(a.length, b.length, history)
    }
  }
  return undefined
}

function traceBack(lengthA: number, lengthB: number, history: readonly Int32Array[]): Alignment {
  const result: Alignment = { matched: [], onlyA: [], onlyB: [] }
  let x = lengthA
  let y = lengthB
  for (let edits = history.length - 1; edits >= 0; edits--) {
    const row = history[edits] as Int32Array
    const at = (diagonal: number) => row[diagonal + edits + 1] as number
    const diagonal = x - y
    const inserted = diagonal === -edits || (diagonal !== edits && at(diagonal - 1) < at(diagonal + 1))
    const fromX = edits === 0 ? 0 : inserted ? at(diagonal + 1) : at(diagonal - 1)
    const fromY = edits === 0 ? 0 : fromX - (inserted ? diagonal + 1 : diagonal - 1)
    const afterX = edits === 0 || inserted ? fromX : fromX + 1
    while (x > afterX) result.matched.push([--x, --y])
    if (edits === 0) break
    if (inserted) result.onlyB.push(fromY)
    else result.onlyA.push(fromX)
    x = fromX
    y = fromY
  }
  result.matched.reverse()
  result.onlyA.reverse()
  result.onlyB.reverse()
  return result
}
