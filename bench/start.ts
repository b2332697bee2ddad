/**
 * `bench start`: from `npx atp test` to the first test's body on a warm lab, and the framework's own share of it.
 *
 * "Own share" is that time without Node's start and without a plain Vitest run that reaches its first body in the
 * same round.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { packageVersion } from '../framework/runner/package-version.ts'
import { median, percentile, type BenchContext, type BenchResult } from './result.ts'

const ROUNDS = 12
const ROOT = resolve(import.meta.dirname, '..')
const ATP = join(ROOT, 'bin/atp.js')
const VITEST = join(ROOT, 'node_modules/vitest/vitest.mjs')

export async function run(context: BenchContext): Promise<BenchResult> {
  const dir = mkdtempSync(join(tmpdir(), 'atp-bench-start-'))
  try {
    mkdirSync(join(dir, 'specs'))
    writeFileSync(join(dir, 'atp.config.mjs'), 'export default { lab: true, report: { allure: false } }\n')
    const body = 'process.stderr.write(`BODY ${Date.now()}\\n`)'
    writeFileSync(
      join(dir, 'specs/first.spec.ts'),
      `import { test } from '@ocloudview/atp'\ntest('first', async ({ guest }) => { ${body}; await guest.ping() })\n`,
    )
    writeFileSync(
      join(dir, 'plain.test.mjs'),
      `import { test } from '${join(ROOT, 'node_modules/vitest/dist/index.js')}'\ntest('first', () => { ${body} })\n`,
    )
    context.log('making the lab warm, with a standby on each host')
    await call(['lab', 'up', '--standbys', '1'], dir)
    const samples: { atp: number[]; vitest: number[]; node: number[] } = { atp: [], vitest: [], node: [] }
    for (let round = 0; round <= ROUNDS; round++) {
      const atp = await untilBody([ATP, 'test', '--reporter', 'none'], dir)
      const vitest = await untilBody([VITEST, 'run', '--root', dir, '--pool', 'forks', 'plain.test.mjs'], dir)
      const node = await untilBody(['-e', body], dir)
      // The first round fills caches.
      if (round === 0) continue
      samples.atp.push(atp)
      samples.vitest.push(vitest)
      samples.node.push(node)
      context.log(`round ${round}: atp ${atp} ms, plain Vitest ${vitest} ms, Node ${node} ms`)
    }
    writeFileSync(context.samplesFile, JSON.stringify(samples))
    const own = samples.atp.map((value, index) => value - (samples.vitest[index] as number))
    return {
      name: 'start',
      metrics: {
        first_test_s: median(samples.atp) / 1000,
        first_test_p95_s: percentile(samples.atp, 0.95) / 1000,
        plain_vitest_s: median(samples.vitest) / 1000,
        node_s: median(samples.node) / 1000,
        own_share_s: median(own) / 1000,
      },
      ratios: { vs_plain_vitest: median(samples.atp) / median(samples.vitest) },
      n: ROUNDS,
      versions: { atp: packageVersion(), node: process.versions.node },
      qemuPids: [],
      samplesFile: context.samplesFile,
    }
  } finally {
    await call(['lab', 'up', '--standbys', '0'], dir)
    rmSync(dir, { recursive: true, force: true })
  }
}

function call(args: string[], cwd: string): Promise<void> {
  return new Promise((done, fail) => {
    const child = spawn(process.execPath, [ATP, ...args], { cwd, stdio: ['ignore', 'ignore', 'inherit'] })
    child.on('close', (code) => (code === 0 ? done() : fail(new Error(`atp ${args.join(' ')} ended with ${code}`))))
  })
}

/** Milliseconds from the start of the process to the moment the body of its first test ran. */
function untilBody(args: string[], cwd: string): Promise<number> {
  return new Promise((done, fail) => {
    const started = Date.now()
    let reached: number | undefined
    let printed = ''
    const take = (text: string) => {
      printed += text
      const match = /BODY (\d+)/.exec(printed)
      if (match) reached ??= Number(match[1]) - started
    }
    const child = spawn(process.execPath, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] })
    child.stdout.setEncoding('utf8').on('data', take)
    child.stderr.setEncoding('utf8').on('data', take)
    child.on('close', () =>
      reached === undefined ? fail(new Error(`no body was reached:\n${printed}`)) : done(reached),
    )
  })
}
