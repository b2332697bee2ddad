/** 50 running VMs on one host, kept busy: from one process over one connection, then by 50 specs at once. */
import { writeFileSync } from 'node:fs'
import { hypervisorVersions } from '../lab/versions.ts'
import type { BenchContext, BenchResult } from './result.ts'
import { holdInOneProcess } from './support/held-in-one.ts'
import { holdInSpecs } from './support/held-in-specs.ts'
import { withOwnLab } from './support/own-lab.ts'

const VMS = 50
const SECONDS = 600

/**
 * `ATP_BENCH_SECONDS` and `ATP_BENCH_VMS` try it out on less; the result is a failure then.
 *
 * Metrics without prefix are those of the one process, `test_` those of the run of specs.
 */
export async function run({ log, samplesFile }: BenchContext): Promise<BenchResult> {
  const seconds = Number(process.env['ATP_BENCH_SECONDS'] ?? SECONDS)
  const count = Number(process.env['ATP_BENCH_VMS'] ?? VMS)
  return withOwnLab({ hosts: 1, capacity: count }, log, async (lab) => {
    const held = await holdInOneProcess(lab, { count, seconds, log })
    const specs = await holdInSpecs(lab, { count, seconds, log })
    writeFileSync(samplesFile, JSON.stringify({ one: held.samples, specs: specs.samples }))
    const metrics = { ...held.metrics, ...specs.metrics }
    return {
      name: 'fifty',
      metrics,
      ratios: {},
      n: held.metrics['calls'] as number,
      versions: { node: process.versions.node, ...(await hypervisorVersions()) },
      qemuPids: held.qemuPids,
      samplesFile,
      failures: failures(metrics),
    }
  })
}

function failures(metrics: Record<string, number>): string[] {
  const least = { vms: VMS, duration_s: SECONDS, test_vms: VMS, test_passed: VMS, test_duration_s: SECONDS }
  const most = { errors: 0, test_errors: 0 }
  const value = (key: string) => metrics[key] ?? Number.NaN
  return [
    ...Object.entries(least).flatMap(([key, wanted]) =>
      // Rounded: timers may fire a fraction of a millisecond early.
      Math.round(value(key)) >= wanted ? [] : [`${key} is ${value(key)}, at least ${wanted} are needed`],
    ),
    ...Object.entries(most).flatMap(([key, wanted]) =>
      value(key) <= wanted ? [] : [`${key} is ${value(key)}, at most ${wanted} are allowed`],
    ),
  ]
}
