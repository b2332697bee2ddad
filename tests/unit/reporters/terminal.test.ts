import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { setTimeout as wait } from 'node:timers/promises'
import { stripVTControlCharacters } from 'node:util'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { addRedaction } from '../../../framework/core/index.ts'
import { RunModel, type RunEvent, summarise, textWidth } from '../../../framework/evidence/index.ts'
import { liveLines } from '../../../reporters/terminal-lines.ts'
import { TerminalScreen } from '../../../reporters/terminal-screen.ts'
import { TerminalReporter } from '../../../reporters/terminal.ts'
import { PASSWORD, recordedRun } from './recorded-run.ts'

addRedaction(PASSWORD)
const directory = mkdtempSync(join(tmpdir(), 'atp-terminal-'))
const ESCAPE = '\u001b'

/** A terminal that remembers what was written; `take` decides when a write is done. */
class Terminal extends Writable {
  text = ''
  writes = 0
  readonly isTTY: boolean
  columns = 100
  rows = 30
  readonly #take: (done: () => void) => void
  constructor(isTTY: boolean, take: (done: () => void) => void = (done) => done()) {
    super({ decodeStrings: false })
    this.isTTY = isTTY
    this.#take = take
  }
  hasColors(): boolean {
    return this.isTTY
  }
  getColorDepth(): number {
    return this.isTTY ? 8 : 1
  }
  override _write(chunk: string, _encoding: string, done: () => void): void {
    this.text += chunk
    this.writes++
    this.#take(done)
  }
}

async function run(stream: Terminal, events: RunEvent[] = recordedRun(directory)): Promise<string> {
  const reporter = new TerminalReporter({
    stream,
    footer: () => [{ label: 'Report', text: 'allure-report/index.html' }],
  })
  for (const event of events) reporter.onEvent(event)
  await reporter.close()
  return stream.text
}

afterEach(() => {
  vi.unstubAllEnvs()
})

describe('TerminalReporter without a terminal', () => {
  it('writes plain lines: every test, failures at once, a summary that hides nothing', async () => {
    vi.stubEnv('FORCE_COLOR', undefined)
    const text = await run(new Terminal(false))
    expect(text).not.toContain(ESCAPE)
    expect(text).not.toContain(PASSWORD)
    expect(text).toContain('✓ specs/input/text.spec.ts › 输入 › 文本完整到达 qmp  1.24 s  vm-001@lab-a\n')
    expect(text).toContain('unverified: 1  flaky: passed at attempt 2')
    expect(text).toMatch(
      /failed, verdict: product[^]*> 14 \|[^]*damaged input keyboard.type[^]*screenshot: .*screen\.png/,
    )
    expect(text).toContain('never ran: bail: 3 tests had failed')
    expect(text).toContain(
      'Tests  1 failed, 2 broken, 3 passed, 1 flaky, 2 passed with unverified input, 1 skipped, 1 never ran (8)',
    )
    expect(text).toContain('Leaked  1 VM had to be swept')
    expect(text).toContain('Error outside of tests\nafterAll hook')
    expect(text.trimEnd().endsWith('Report  allure-report/index.html')).toBe(true)
  })

  it('names a few of many VMs', async () => {
    const events = recordedRun(directory).map((event) => {
      if (event.type !== 'lease' || event.state !== 'granted') return event
      const [vm] = event.vms as [(typeof event.vms)[0]]
      return {
        ...event,
        vms: Array.from({ length: 50 }, (_, index) => ({ ...vm, name: `桌面-${index + 1}`, uuid: String(index) })),
      }
    })
    expect(await run(new Terminal(false), events)).toContain(
      '文本完整到达 qmp  1.24 s  桌面-1@lab-a 桌面-2@lab-a 桌面-3@lab-a 桌面-4@lab-a and 46 more\n',
    )
  })

  it('prints a failure when it happens, not at the end', () => {
    const stream = new Terminal(false)
    const reporter = new TerminalReporter({ stream })
    const events = recordedRun(directory)
    const firstFailure = events.findIndex((event) => event.type === 'test.end' && event.status === 'failed')
    for (const event of events.slice(0, firstFailure + 1)) reporter.onEvent(event)
    expect(stream.text).toContain('failed, verdict: product')
  })

  it('says that a test was cut off when the run ended before it', async () => {
    expect(await run(new Terminal(false), recordedRun(directory).slice(0, 8))).toContain('Tests  1 cut off (1)')
  })

  it('lets no control sequence of a guest through', async () => {
    const events = recordedRun(directory).map((event) =>
      event.type === 'test.end' && event.status === 'broken'
        ? { ...event, errors: [{ message: `a${ESCAPE}[2Jb\u0007c\rd`, verdict: 'product' as const }] }
        : event,
    )
    const text = await run(new Terminal(false), events)
    expect(text).toContain('abcd')
    // oxlint-disable-next-line no-control-regex
    expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f]/)
  })
})

describe('TerminalReporter on a terminal', () => {
  it.each(['CI', 'NO_COLOR'])('stays plain of cursor control with %s', async (name) => {
    vi.stubEnv(name, '1')
    const stream = new Terminal(true)
    const reporter = new TerminalReporter({ stream })
    for (const event of recordedRun(directory)) reporter.onEvent(event)
    await wait(250)
    await reporter.close()
    expect(stream.text).not.toContain(`${ESCAPE}[0J`)
  })

  it('redraws progress in place and leaves nothing of it behind', async () => {
    vi.stubEnv('CI', undefined)
    vi.stubEnv('NO_COLOR', undefined)
    vi.stubEnv('TERM', 'xterm')
    const stream = new Terminal(true)
    const reporter = new TerminalReporter({ stream })
    const events = recordedRun(directory)
    for (const event of events.slice(0, 8)) reporter.onEvent(event)
    await vi.waitFor(() => expect(stream.text).toContain('hosts  lab-a 1/2  lab-b 0/2'), 5000)
    expect(stripVTControlCharacters(stream.text)).toMatch(
      /▸ specs\/input\/text\.spec\.ts › 输入 › 文本完整到达 qmp .*vm-001@lab-a/,
    )
    for (const event of events.slice(8)) reporter.onEvent(event)
    await reporter.close()
    const afterLastErase = stream.text.slice(stream.text.lastIndexOf(`${ESCAPE}[0J`))
    expect(afterLastErase).not.toContain('▸')
  })

  it('keeps its block within the terminal, Chinese names included', () => {
    const model = new RunModel()
    for (const event of recordedRun(directory).slice(0, 3)) model.apply(event)
    for (let index = 0; index < 40; index++) {
      model.apply({
        v: 1,
        time: 0,
        type: 'test.start',
        test: `t${index}`,
        attempt: 1,
        name: '很长的中文测试名称'.repeat(8),
        path: [],
        location: { file: 'specs/输入.spec.ts', line: 1, column: 1 },
        tags: [],
        meta: {},
      })
    }
    for (const columns of [40, 80, 133]) {
      const lines = liveLines(model, summarise(model), Date.now(), { columns, rows: 12 }, (_, text) => text)
      expect(lines.length).toBeLessThan(12)
      expect(lines.join('\n')).toMatch(/and \d+ more running/)
      for (const line of lines) expect(textWidth(line)).toBeLessThan(columns)
    }
  })

  it('does not pile frames up in front of a terminal that takes none', async () => {
    const stream = new Terminal(true, () => {})
    const screen = new TerminalScreen(stream, true, () => ['x'.repeat(20_000)])
    screen.start()
    await wait(650)
    screen.stop()
    expect(stream.writableLength).toBeLessThan(25_000)
  })
})
