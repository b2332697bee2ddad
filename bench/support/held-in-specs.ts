import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { pollUntil, sleep } from '../../framework/core/index.ts'
import type { JsonReport } from '../../reporters/json.ts'
import { labHost, openHost } from '../../lab/hosts.ts'
import { labPaths } from '../../lab/index.ts'
import { GO_FILE } from './held-spec.ts'
import type { OwnLab } from './own-lab.ts'

const ROOT = resolve(import.meta.dirname, '../..')
/** Until all VMs are made, all workers started. */
const WAIT_MS = 600_000
const STOP_TIMEOUT_MS = 120_000
const CHECK_EVERY_MS = 10_000

/**
 * The same through `atp test`: a project of as many spec files as VMs, each held until all have theirs and kept busy
 * for the whole time. Counts the running VMs from outside, through libvirt.
 */
export async function holdInSpecs(
  lab: OwnLab,
  { count, seconds, log }: { count: number; seconds: number; log: (text: string) => void },
): Promise<{ metrics: Record<string, number>; samples: unknown }> {
  const dir = mkdtempSync(join(tmpdir(), 'atp-bench-specs-'))
  const folder = join(dir, 'held')
  mkdirSync(folder)
  writeProject(dir, lab, { count, seconds, folder })
  const client = await openHost(labHost(labPaths(), 1))
  const started = performance.now()
  const child = spawn(process.execPath, [join(ROOT, 'bin/atp.js'), 'test', '--reporter', 'none'], {
    cwd: dir,
    stdio: ['ignore', process.stderr, 'inherit'],
    detached: true,
  })
  const ended = once(child, 'exit')
  try {
    const files = (ending: string) => readdirSync(folder).filter((name) => name.endsWith(ending))
    const runs = () => child.exitCode === null && child.signalCode === null
    await pollUntil('all specs to have their VM', { timeoutMs: WAIT_MS, signal: lab.signal }, async () => {
      if (!runs()) throw new Error(`atp test ended with ${child.exitCode ?? child.signalCode}`)
      return files('.ready').length >= count || undefined
    })
    const readyS = (performance.now() - started) / 1000
    log(`${count} specs have their VMs after ${readyS.toFixed(0)} s`)
    writeFileSync(join(folder, GO_FILE), '')
    let running = count
    while (runs() && files('.json').length === 0) {
      const states = await Promise.all((await client.listDomains()).map((domain) => client.getState(domain)))
      // One that is being paused by its own spec is held as well.
      running = Math.min(running, states.filter(({ state }) => state === 'running' || state === 'paused').length)
      await Promise.race([sleep(CHECK_EVERY_MS, lab.signal), ended])
    }
    const [exitCode] = (await ended) as [number | null]
    const report = JSON.parse(readFileSync(join(dir, 'report.json'), 'utf8')) as JsonReport
    const results = files('.json').map((name) => JSON.parse(readFileSync(join(folder, name), 'utf8')) as Result)
    for (const { firstErrors } of results) for (const text of firstErrors) log(text)
    const calls = results.reduce((sum, result) => sum + result.calls, 0)
    const held = Math.min(...results.map((result) => result.seconds))
    return {
      metrics: {
        test_errors: results.reduce((sum, result) => sum + result.errors, 0) + (exitCode === 0 ? 0 : 1),
        test_vms: running,
        test_passed: report.summary.counts.passed,
        test_duration_s: results.length === count ? held : 0,
        test_calls_per_s: calls / held,
        test_ready_s: readyS,
      },
      samples: { results, summary: report.summary },
    }
  } finally {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGTERM')
      await Promise.race([ended, sleep(STOP_TIMEOUT_MS)])
      child.kill('SIGKILL')
    }
    await client.close()
    rmSync(dir, { recursive: true, force: true })
  }
}

interface Result {
  calls: number
  errors: number
  firstErrors: string[]
  seconds: number
}

function writeProject(
  dir: string,
  lab: OwnLab,
  { count, seconds, folder }: { count: number; seconds: number; folder: string },
): void {
  const config = {
    lab: lab.config,
    workers: count,
    evidence: 'off',
    timeouts: { lease: WAIT_MS, setup: WAIT_MS, test: 2 * WAIT_MS + seconds * 1000 },
    report: { allure: false, json: 'report.json' },
  }
  writeFileSync(join(dir, 'atp.config.mjs'), `export default ${JSON.stringify(config)}\n`)
  mkdirSync(join(dir, 'specs'))
  for (let index = 1; index <= count; index++) {
    const options = JSON.stringify({ folder, seconds, waitMs: WAIT_MS })
    const text = `import { test } from '@ocloudview/atp'
import { holdInSpec } from '${ROOT}/bench/support/held-spec.ts'

test('VM ${index} of ${count} is kept busy', ({ vm }) => holdInSpec(vm, ${options}))
`
    writeFileSync(join(dir, 'specs', `held-${index}.spec.ts`), text)
  }
}
