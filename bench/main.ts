/** `npm run bench -- <name> [--json]` */
import { mkdirSync, readdirSync } from 'node:fs'
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { messageOf } from '../framework/core/index.ts'
import type { BenchContext, BenchResult } from './result.ts'

const NOT_BENCHES = new Set(['main.ts', 'result.ts'])
const names = readdirSync(import.meta.dirname)
  .filter((file) => file.endsWith('.ts') && !NOT_BENCHES.has(file))
  .map((file) => file.slice(0, -3))

try {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: { json: { type: 'boolean', default: false } },
  })
  const [name] = positionals
  if (name === undefined || !names.includes(name)) {
    throw new Error(`name a benchmark: ${names.join(', ')} (npm run bench -- <name> [--json])`)
  }
  const dir = resolve('.atp', 'bench')
  mkdirSync(dir, { recursive: true })
  const context: BenchContext = {
    log: (text) => process.stderr.write(`${text}\n`),
    samplesFile: resolve(dir, `${name}-${Date.now()}.json`),
  }
  const bench = (await import(`./${name}.ts`)) as { run(context: BenchContext): Promise<BenchResult> }
  const result = await bench.run(context)
  process.stdout.write(values.json ? `${JSON.stringify(result)}\n` : table(result))
  for (const text of result.failures ?? []) process.stderr.write(`bench: failed: ${text}\n`)
  if (result.failures?.length) process.exitCode = 1
} catch (error) {
  process.stderr.write(`bench: ${messageOf(error)}\n`)
  process.exitCode = 1
}

function table(result: BenchResult): string {
  const rows = [
    ...Object.entries(result.ratios).map(([key, value]) => `ratio   ${key.padEnd(40)} ${value.toFixed(3)}`),
    ...Object.entries(result.metrics).map(([key, value]) => `metric  ${key.padEnd(40)} ${value.toFixed(3)}`),
  ]
  return `${result.name} (n = ${result.n})\n${rows.join('\n')}\nsamples: ${result.samplesFile}\n`
}
