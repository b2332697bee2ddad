/**
 * Writes the tables of docs/spice.md: how much of each decoder the unit tests run, and what real servers sent in the
 * contract tests. Fails when a test does, or when a decoder has less than nine lines of ten.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative, resolve } from 'node:path'
import type { DisplayCounters } from '../framework/protocols/spice/display/display-state.ts'
import { drawOperationName } from '../framework/protocols/spice/display/draw-operations.ts'
import { VIDEO_CODEC_NAMES } from '../framework/protocols/spice/display/messages.ts'
import { IMAGE_TYPE } from '../framework/protocols/spice/wire/numbers.ts'

const ROOT = resolve(import.meta.dirname, '..')
const PAGE = join(ROOT, 'docs/spice.md')
const CODECS = 'framework/protocols/spice/codec'
const START = '<!-- generated: spice-tables -->\n'
const END = '<!-- /generated -->'
const LINES_PERCENT = 90
/** `SPICE_MSG_DISPLAY_COPY_BITS`, and the range of the other draw operations. */
const DRAW_MESSAGES = [104, ...Array.from({ length: 17 }, (_, index) => 302 + index)]
type Kind = 'images' | 'draws' | 'frames'

function vitest(args: readonly string[], env: NodeJS.ProcessEnv = {}): void {
  const program = join(ROOT, 'node_modules/vitest/vitest.mjs')
  const stdio = ['ignore', 'inherit', 'inherit'] as const
  execFileSync(process.execPath, [program, 'run', ...args], {
    cwd: ROOT,
    stdio: [...stdio],
    env: { ...process.env, ...env },
  })
}

/** Percent of the lines of each decoder's file that unit tests run. */
function coverage(folder: string): [string, number][] {
  const settings = {
    include: `${CODECS}/**/*.ts`,
    reporter: 'json-summary',
    reportsDirectory: folder,
    'thresholds.perFile': true,
    'thresholds.lines': LINES_PERCENT,
    'thresholds.branches': 0,
  }
  const options = Object.entries(settings).map(([name, value]) => `--coverage.${name}=${value}`)
  // Bad input adds nothing to the lines that good input and hand-made errors do not reach.
  vitest(['--project', 'unit', '--testTimeout=600000', '--coverage', ...options, 'tests/unit/spice'], {
    ATP_MUTATIONS: '300',
  })
  const summary = JSON.parse(readFileSync(join(folder, 'coverage-summary.json'), 'utf8')) as Record<
    string,
    { lines: { pct: number } }
  >
  return Object.entries(summary)
    .filter(([file]) => file !== 'total')
    .map(([file, { lines }]) => [relative(join(ROOT, CODECS), file), lines.pct] as [string, number])
    .toSorted(([one], [other]) => one.localeCompare(other))
}

/** What servers sent to all displays of the contract tests together. */
function seen(log: string): Record<Kind, Record<string, number>> {
  writeFileSync(log, '')
  const config = 'tests/support/spice-server/count-seen.config.ts'
  vitest(['--config', config], { ATP_SPICE_SEEN: log })
  const sums: Record<Kind, Record<string, number>> = { images: {}, draws: {}, frames: {} }
  for (const line of readFileSync(log, 'utf8').split('\n').filter(Boolean)) {
    const counters = JSON.parse(line) as DisplayCounters
    for (const kind of Object.keys(sums) as Kind[]) {
      for (const [name, count] of Object.entries(counters[kind])) sums[kind][name] = (sums[kind][name] ?? 0) + count
    }
  }
  return sums
}

function table(heads: readonly [string, string], rows: readonly (readonly [string, string])[]): string {
  const line = (cells: readonly [string, string]) => `| ${cells.join(' | ')} |\n`
  return `${line(heads)}| --- | --- |\n${rows.map(line).join('')}`
}

const folder = mkdtempSync(join(tmpdir(), 'spice-tables-'))
try {
  const decoders = coverage(folder)
  const counts = seen(join(folder, 'seen.jsonl'))
  const names: Record<Kind, readonly string[]> = {
    images: Object.keys(IMAGE_TYPE),
    draws: DRAW_MESSAGES.map(drawOperationName).filter((name) => name !== undefined),
    frames: Object.values(VIDEO_CODEC_NAMES),
  }
  const heads = { images: 'Type of image', draws: 'Draw operation', frames: 'Codec of video' }
  const counted = (['images', 'draws', 'frames'] as const).map((kind) =>
    table(
      [heads[kind], kind === 'frames' ? 'Frames' : 'Came'],
      names[kind].map((name) => [`\`${name}\``, counts[kind][name]?.toString() ?? '0: not covered'] as const),
    ),
  )
  const covered = table(
    ['Decoder', 'Lines'],
    decoders.map(([file, percent]) => [`\`${file}\``, `${percent} %`] as const),
  )
  const text = readFileSync(PAGE, 'utf8')
  const [from, to] = [text.indexOf(START), text.indexOf(END)]
  if (from < 0 || to < from) throw new Error(`${PAGE} has no place for the tables`)
  writeFileSync(PAGE, `${text.slice(0, from)}${START}\n${[...counted, covered].join('\n')}\n${text.slice(to)}`)
} finally {
  rmSync(folder, { recursive: true, force: true })
}
