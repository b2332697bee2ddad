/** What every benchmark resolves to; printed as one JSON line. */
export interface BenchResult {
  name: string
  /** Absolute figures; the unit is in the key (`_ms`, `_per_s`, `_mb`). */
  metrics: Record<string, number>
  /** Side-by-side figures of this one run; what the goals are stated in. */
  ratios: Record<string, number>
  /** Samples behind the main figure. */
  n: number
  versions: Record<string, string>
  /** Process ids of the QEMUs that were measured. */
  qemuPids: number[]
  /** File with the raw samples. */
  samplesFile: string
  /** Why the figures do not count, one sentence each: too few VMs, too short, errors. The benchmark failed then. */
  failures?: string[]
}

export interface BenchContext {
  /** Progress for the person who waits; stderr. */
  log(text: string): void
  /** Where raw samples go. */
  samplesFile: string
}

/** Value below which a share of the samples lies (nearest rank). */
export function percentile(samples: readonly number[], share: number): number {
  const sorted = samples.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1))] as number
}

export function median(samples: readonly number[]): number {
  return percentile(samples, 0.5)
}
