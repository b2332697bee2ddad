/**
 * `bench start`: from `npx atp test` to the first test's body on a warm lab, and the framework's own share of it.
 *
 * "Own share" is that time without npx's own and without a plain Vitest run that reaches its first body in the same
 * round.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { knownHosts, vmPids } from '../lab/hosts.ts'
import { labPaths } from '../lab/paths.ts'
import { packageVersion } from '../framework/core/index.ts'
import { median, percentile, type BenchContext, type BenchResult } from './result.ts'

const ROUNDS = 12
const ROOT = resolve(import.meta.dirname, '..')
const ATP = join(ROOT, 'bin/atp.js')
const VITEST = join(ROOT, 'node_modules/vitest/vitest.mjs')

export async function run(context: BenchContext): Promise<BenchResult> {
  mkdirSync(join(ROOT, '.atp'), { recursive: true })
  const dir = mkdtempSync(join(ROOT, '.atp', 'bench-start-'))
  try {
    mkdirSync(join(dir, 'specs'))
    const config = join(dir, 'atp.config.mjs')
    const specs = JSON.stringify([`${relative(ROOT, dir)}/specs/*.spec.ts`])
    writeFileSync(config, `export default { lab: true, report: { allure: false }, specs: ${specs} }\n`)
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
    await call(['lab', 'up', '--config', config, '--standbys', '1'])
    const qemuPids = (await Promise.all((await knownHosts(labPaths())).map(vmPids))).flat()
    const samples: { atp: number[]; vitest: number[]; npx: number[] } = { atp: [], vitest: [], npx: [] }
    for (let round = 0; round <= ROUNDS; round++) {
      const atp = await untilBody('npx', ['atp', 'test', '--config', config, '--reporter', 'none'], ROOT)
      const vitest = await untilBody(
        process.execPath,
        [VITEST, 'run', '--root', dir, '--pool', 'forks', 'plain.test.mjs'],
        dir,
      )
      const npx = await untilBody('npx', ['node', '-e', body], ROOT)
      // The first round fills caches.
      if (round === 0) continue
      samples.atp.push(atp)
      samples.vitest.push(vitest)
      samples.npx.push(npx)
      context.log(`round ${round}: atp ${atp} ms, plain Vitest ${vitest} ms, npx alone ${npx} ms`)
    }
    writeFileSync(context.samplesFile, JSON.stringify(samples))
    const own = samples.atp.map(
      (value, index) => value - (samples.vitest[index] as number) - (samples.npx[index] as number),
    )
    return {
      name: 'start',
      metrics: {
        first_test_s: median(samples.atp) / 1000,
        first_test_p95_s: percentile(samples.atp, 0.95) / 1000,
        plain_vitest_s: median(samples.vitest) / 1000,
        npx_s: median(samples.npx) / 1000,
        own_share_s: median(own) / 1000,
      },
      ratios: { vs_plain_vitest: median(samples.atp) / median(samples.vitest) },
      n: ROUNDS,
      versions: { atp: packageVersion(), node: process.versions.node },
      qemuPids,
      samplesFile: context.samplesFile,
    }
  } finally {
    await call(['lab', 'up', '--standbys', '0'])
    rmSync(dir, { recursive: true, force: true })
  }
}

function call(args: string[]): Promise<void> {
  return new Promise((done, fail) => {
    const child = spawn(process.execPath, [ATP, ...args], { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] })
    child.on('close', (code) => (code === 0 ? done() : fail(new Error(`atp ${args.join(' ')} ended with ${code}`))))
  })
}

/** Milliseconds from the start of the process to the moment the body of its first test ran. */
function untilBody(file: string, args: string[], cwd: string): Promise<number> {
  return new Promise((done, fail) => {
    const started = Date.now()
    let reached: number | undefined
    let printed = ''
    const take = (text: string) => {
      printed += text
      const match = /BODY (\d+)/.exec(printed)
      if (match) reached ??= Number(match[1]) - started
    }
    const env = { ...process.env, PATH: `${join(ROOT, 'node_modules/.bin')}:${process.env['PATH']}` }
    const child = spawn(file, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] })
    child.stdout.setEncoding('utf8').on('data', take)
    child.stderr.setEncoding('utf8').on('data', take)
    child.on('close', () =>
      reached === undefined ? fail(new Error(`no body was reached:\n${printed}`)) : done(reached),
    )
  })
}
