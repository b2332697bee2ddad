/** A million bad messages and images of SPICE servers: each gives a typed error or a picture, in bounded memory. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative, resolve } from 'node:path'
import { expect, it } from 'vitest'
import type { PropertyRun } from './mutations/count-runs.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const TESTS = join(ROOT, 'tests/unit/spice')
/** What guests say through a folder channel ends here. */
const WEBDAV = join(ROOT, 'tests/unit/desktop/webdav-server.test.ts')
const CONFIG = resolve(import.meta.dirname, 'mutations/vitest.config.ts')
/** For each parser; there are about twenty. */
const EACH = Number(process.env['ATP_MUTATIONS'] ?? 50_000)
const TOTAL = 1_000_000
/** Five minutes do on two processors; a loop without an end is ended after this. */
const LIMIT_MS = 3 * 3_600_000
/** The largest picture allowed takes a quarter of it, and may be there twice. */
const MAX_RSS_BYTES = 1.5 * 2 ** 30
/** Share of changes that know where fields, lengths, pointers, markers and codes lie, as each file says. */
const STRUCTURE_AWARE: Record<string, number> = {
  'agent/mutations.test.ts': 1,
  'codec/mutations.test.ts': 5 / 7,
  'codec/jpeg.test.ts': 1 / 2,
  'core/mutations.test.ts': 1,
  'display/mutations.test.ts': 4 / 7,
  'quic/bad-input.test.ts': 5 / 8,
  'smartcard/mutations.test.ts': 1,
  'sound/mutations.test.ts': 1,
  'web-socket/web-socket.test.ts': 1 / 2,
}

it(`${TOTAL} mutations give typed errors or pictures`, { timeout: 4 * 3_600_000 }, async () => {
  const log = join(mkdtempSync(join(tmpdir(), 'mutations-')), 'runs.jsonl')
  const files = readdirSync(TESTS, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.test.ts'))
    .map((file) => join(TESTS, file))
    .filter((file) => readFileSync(file, 'utf8').includes('ATP_MUTATIONS'))
    .concat(WEBDAV)
  const vitest = join(ROOT, 'node_modules/vitest/vitest.mjs')
  const startedMs = performance.now()
  // The machine may be somebody's.
  const campaign = spawn('nice', ['-n', '19', process.execPath, vitest, 'run', '--config', CONFIG, ...files], {
    stdio: ['ignore', 'inherit', 'inherit'],
    timeout: LIMIT_MS,
    killSignal: 'SIGKILL',
    env: { ...process.env, ATP_MUTATIONS: String(EACH), ATP_MUTATIONS_LOG: log },
  })
  const [code] = (await once(campaign, 'exit')) as [number | null]
  const properties = readFileSync(log, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as PropertyRun)
  expect(properties.flatMap(({ failure }) => failure ?? [])).toEqual([])
  expect(code).toBe(0)
  const runs = new Map<string, number>()
  for (const { file, runs: count } of properties) {
    const name = relative(TESTS, file)
    // Properties of a few hundred runs are of other things.
    if (count >= EACH / 4) runs.set(name, (runs.get(name) ?? 0) + count)
  }
  const total = [...runs.values()].reduce((sum, count) => sum + count, 0)
  const aware = [...runs].reduce((sum, [file, count]) => sum + count * (STRUCTURE_AWARE[file] ?? 0), 0)
  const rssBytes = Math.max(...properties.map(({ maxRssBytes }) => maxRssBytes))
  const seconds = Math.round((performance.now() - startedMs) / 1000)
  const summary = { total, aware: Math.round(aware), seconds, rssMiB: Math.round(rssBytes / 2 ** 20) }
  process.stderr.write(`${JSON.stringify({ ...summary, ...Object.fromEntries(runs) }, undefined, 2)}\n`)
  expect(rssBytes).toBeLessThan(MAX_RSS_BYTES)
  expect(aware).toBeGreaterThan(total / 2)
  expect(total).toBeGreaterThanOrEqual(TOTAL)
})
