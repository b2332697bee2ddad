/** Length of the longest strictly rising subsequence: how many of the numbers are in order. */
export function longestRise(numbers: readonly number[]): number {
  // ends[n]: the least number that a rising subsequence of length n + 1 ends with.
  const ends: number[] = []
  for (const number of numbers) {
    let low = 0
    let high = ends.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((ends[middle] as number) < number) low = middle + 1
      else high = middle
    }
    ends[low] = number
  }
  return ends.length
}
