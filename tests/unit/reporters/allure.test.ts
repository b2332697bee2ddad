import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { StepResult, TestResult } from 'allure-js-commons'
import { beforeAll, describe, expect, it } from 'vitest'
import { addRedaction, isAtpError } from '../../../framework/core/index.ts'
import type { RunEvent } from '../../../framework/evidence/index.ts'
import { deliveryParameters } from '../../../reporters/allure-result.ts'
import { AllureReporter } from '../../../reporters/allure.ts'
import { reporterByName } from '../../../reporters/index.ts'
import { PASSWORD, recordedRun } from './recorded-run.ts'

addRedaction(PASSWORD)
const directory = mkdtempSync(join(tmpdir(), 'atp-allure-'))
const resultsDir = join(directory, 'allure-results')

async function write(events: readonly RunEvent[], into = resultsDir): Promise<void> {
  const reporter = new AllureReporter({ resultsDir: into })
  for (const event of events) reporter.onEvent(event)
  await reporter.close()
}
function resultsIn(into = resultsDir): TestResult[] {
  return readdirSync(into)
    .filter((name) => name.endsWith('-result.json'))
    .map((name) => JSON.parse(readFileSync(join(into, name), 'utf8')) as TestResult)
    .sort((a, b) => (a.start ?? 0) - (b.start ?? 0))
}
const named = (name: string) => resultsIn().filter((result) => result.name === name)
const parametersOf = (step: Pick<StepResult, 'parameters'>) =>
  Object.fromEntries(step.parameters.map(({ name, value }) => [name, value]))
const labelsOf = ({ labels }: TestResult, name: string) =>
  labels.filter((label) => label.name === name).map(({ value }) => value)
const textOf = (source: string | undefined) => readFileSync(join(resultsDir, source ?? ''), 'utf8')

beforeAll(async () => {
  await write(recordedRun(directory))
})

describe('AllureReporter results', () => {
  it('writes one result an attempt, all attempts of a test with one identity', () => {
    expect(resultsIn()).toHaveLength(10)
    const attempts = named('中文输入法 <IME> & "引号"')
    expect(attempts).toHaveLength(2)
    expect(new Set(attempts.map(({ testCaseId, historyId }) => `${testCaseId} ${historyId}`)).size).toBe(1)
    expect(new Set(resultsIn().map(({ testCaseId }) => testCaseId)).size).toBe(8)
    expect(
      resultsIn()
        .flatMap(({ parameters }) => parameters)
        .every(({ excluded }) => excluded),
    ).toBe(true)
  })

  it('tells product failures from everything else', () => {
    expect(resultsIn().map(({ name, status }) => `${status} ${name}`)).toEqual([
      'passed 文本完整到达 qmp',
      'failed 中文输入法 <IME> & "引号"',
      'failed 中文输入法 <IME> & "引号"',
      'broken 登录',
      'passed 登录 · unverified',
      'broken boots',
      'broken typo in a chord',
      'skipped windows only',
      'skipped after the bail',
      'passed types without an observer · unverified',
    ])
    expect(labelsOf(named('boots')[0]!, 'verdict')).toEqual(['infrastructure'])
    expect(named('boots')[0]!.description).toContain('**Verdict: infrastructure**')
    expect(named('after the bail')[0]!.statusDetails.message).toBe('never ran: bail: 3 tests had failed')
  })

  it('nests steps, with the account and the latency of the input they were', () => {
    const [hello] = named('文本完整到达 qmp')
    expect(hello!.steps.map(({ name }) => name)).toEqual([
      '打开记事本',
      'keyboard.press "enter" · 2.00 ± 0.35 ms',
      "author's own allure.step",
    ])
    const [typed, exec] = hello!.steps[0]!.steps
    expect(parametersOf(typed!)).toMatchObject({
      vm: 'vm-001',
      path: 'qmp/ps2',
      delivery: 'delivered: 12 events sent, 12 seen',
      'latency (kernel)': 'p50 2.60 · p95 4.10 · p99 4.10 · max 4.10 ms ± 0.35 ms (5 samples)',
    })
    expect(parametersOf(exec!)).toEqual({ result: 'exit 0' })
    expect(parametersOf(hello!)).toMatchObject({
      vm: 'vm-001',
      host: 'lab-a',
      'key p50': '2.20 ± 0.35 ms · kernel · qmp/ps2',
      'key p95': '4.10 ± 0.35 ms · kernel · qmp/ps2',
    })
    expect(hello!.description).toBe(
      'Latency key-to-guest, kernel, qmp/ps2: p50 2.20 · p95 4.10 · p99 4.10 · max 4.10 ms ± 0.35 ms (6 samples)',
    )
    expect(labelsOf(hello!, 'tag')).toEqual(['smoke', 'input'])
    expect(labelsOf(hello!, 'host')).toEqual(['lab-a'])
  })

  it('says where the pointer was to go and is, and what the guest repeated', () => {
    const parameters = deliveryParameters('vm-001', {
      action: 'mouse.move',
      input: '640, 400',
      path: { via: 'qmp', device: 'usb' },
      verify: 'observe',
      outcome: 'delivered',
      sent: 2,
      seen: 2,
      lost: 0,
      duplicated: 0,
      reordered: 0,
      stuck: [],
      repeats: 3,
      pointer: { unit: 'pixel', asked: { x: 640, y: 400 }, reached: { x: 640.00981, y: 399.99 }, error: 0.01401 },
      differences: [],
      durationMs: 1,
    })
    expect(parametersOf({ parameters })).toMatchObject({
      delivery: 'delivered: 2 events sent, 2 seen, 3 repeated by the guest',
      pointer: '640.0098, 399.99 of 640, 400 pixel, 0.014 off',
    })
  })

  it('badges unverified input wherever it shows', () => {
    const [login] = named('登录 · unverified')
    expect(labelsOf(login!, 'tag')).toEqual(['smoke', 'unverified', 'flaky'])
    expect(login!.description).toContain('nobody observed 1 input action: the profile has no observer')
    expect(login!.steps[1]!.name).toBe('click · unverified')
    expect(parametersOf(login!.steps[1]!)['delivery']).toBe('unverified: the profile has no observer (4 events sent)')
  })

  it('keeps evidence per attempt and goes on when a file is gone', () => {
    for (const attempt of named('中文输入法 <IME> & "引号"')) {
      const [step] = attempt.steps
      expect(step!.name).toBe('type "你好, 世界" · damaged · p50 3.00 ± 0.40 ms')
      expect(step!.status).toBe('failed')
      expect(step!.attachments.map(({ name }) => name)).toEqual(['screenshot', 'differences'])
      expect(existsSync(join(resultsDir, step!.attachments[0]!.source))).toBe(true)
      expect(attempt.attachments.map(({ name }) => name)).toEqual([
        'serial console',
        'QMP transcript',
        'QGA transcript',
      ])
      expect(textOf(attempt.attachments[1]!.source)).toContain('could not be read')
      expect(attempt.statusDetails).toMatchObject({
        expected: '你好, 世界',
        known: true,
        message: expect.stringContaining('soft: the status bar'),
      })
      expect(attempt.links).toMatchObject([{ type: 'issue', url: 'https://tracker.example/ISSUE-7' }])
    }
  })

  it('keeps the author’s own allure calls, one broken call costing nothing else', () => {
    const [hello] = named('文本完整到达 qmp')
    expect(labelsOf(hello!, 'epic')).toEqual(['桌面'])
    const own = hello!.steps.find(({ name }) => name === "author's own allure.step")!
    expect(own.status).toBe('passed')
    expect(own.steps.map(({ attachments }) => textOf(attachments[0]?.source))).toEqual([
      'I typed •••',
      'This attachment held a secret and was left out.',
    ])
    expect(hello!.attachments.map(({ name }) => name)).toContain('an allure call of the spec failed')
  })

  it('lets no secret into any file', () => {
    for (const name of readdirSync(resultsDir))
      expect(readFileSync(join(resultsDir, name)).includes(PASSWORD), name).toBe(false)
  })

  it('writes the run’s metrics with level and path in the key', () => {
    const file = readdirSync(resultsDir).find((name) => name.endsWith('-perf.json'))!
    const samples = JSON.parse(readFileSync(join(resultsDir, file), 'utf8')) as { key: string; value: number }[]
    expect(Object.fromEntries(samples.map(({ key, value }) => [key, value]))).toEqual({
      'login.duration': 182.5,
      'key-to-guest.kernel.qmp-ps2.p50': 2.6,
      'key-to-guest.kernel.qmp-ps2.p95': 4.1,
      'key-to-guest.kernel.qmp-ps2.p99': 4.1,
      'key-to-guest.kernel.qmp-ps2.max': 4.1,
      'key-to-guest.kernel.qmp-virtio.p50': 3,
      'key-to-guest.kernel.qmp-virtio.p95': 31.4,
      'key-to-guest.kernel.qmp-virtio.p99': 31.4,
      'key-to-guest.kernel.qmp-virtio.max': 31.4,
    })
  })

  it('removes an earlier run’s results and nothing else', async () => {
    const into = join(directory, 'again')
    await write(recordedRun(directory), into)
    writeFileSync(join(into, 'notes.md'), 'mine')
    await write(recordedRun(directory), into)
    expect(resultsIn(into)).toHaveLength(10)
    expect(existsSync(join(into, 'notes.md'))).toBe(true)
  })

  it('writes an attempt that never ended as broken', async () => {
    const into = join(directory, 'killed')
    await write(recordedRun(directory).slice(0, 8), into)
    expect(resultsIn(into)).toMatchObject([
      { status: 'broken', statusDetails: { message: 'the run ended before this test did' } },
    ])
    expect(resultsIn(into)[0]!.steps[0]).toMatchObject({ status: 'broken' })
  })

  it('fails at the end, not in the middle, when the directory cannot be written', async () => {
    const file = join(directory, 'file')
    writeFileSync(file, '')
    const error = await write(recordedRun(directory), join(file, 'results')).catch((caught: unknown) => caught)
    expect(isAtpError(error, 'ATP_REPORT_WRITE')).toBe(true)
  })
})

describe('AllureReporter report', () => {
  it('makes one page that loads nothing from elsewhere, with gate and history', async () => {
    const reportDir = join(directory, 'allure-report')
    const historyPath = join(directory, 'history', 'history.jsonl')
    const limit = 'key-to-guest.kernel.qmp-virtio.p95'
    for (let run = 1; run <= 2; run++) {
      const reporter = new AllureReporter({
        resultsDir,
        reportDir,
        historyPath,
        qualityGate: [
          { metric: limit, max: 20 },
          { metric: 'login.duration', max: 500, min: 1 },
          { metric: 'nobody.measured', max: 1 },
        ],
      })
      for (const event of recordedRun(directory)) reporter.onEvent(event)
      await reporter.close()
      expect(reporter.report?.path).toBe(join(reportDir, 'index.html'))
      expect(reporter.report?.gate).toEqual({
        passed: false,
        rules: [
          { passed: false, message: `${limit}: 31.4 ms, allowed at most 20` },
          { passed: true, message: 'login.duration: 182.5 ms, allowed at most 500' },
          { passed: true, message: 'login.duration: 182.5 ms, allowed at least 1' },
          { passed: false, message: 'nobody.measured: this run did not measure it, allowed at most 1' },
        ],
      })
      expect(readFileSync(historyPath, 'utf8').trim().split('\n')).toHaveLength(run)
    }
    const html = readFileSync(join(reportDir, 'index.html'), 'utf8')
    expect(html).not.toContain('googletagmanager')
    expect(html).not.toContain('gtag')
    expect(html).not.toMatch(/(?:src|href)="(?:https?:)?\/\//)
    const { stats } = JSON.parse(readFileSync(join(reportDir, 'summary.json'), 'utf8')) as {
      stats: Record<string, number>
    }
    expect(stats).toMatchObject({ total: 8, passed: 3, failed: 1, broken: 2, skipped: 2, retries: 2 })
    expect(readdirSync(directory).filter((name) => name.includes('partial'))).toEqual([])
  }, 60_000)
})

describe('AllureReporter report directory', () => {
  it('never replaces a directory that holds something else', async () => {
    const reportDir = join(directory, 'precious')
    mkdirSync(reportDir)
    writeFileSync(join(reportDir, 'thesis.md'), 'mine')
    const reporter = new AllureReporter({ resultsDir: join(directory, 'other-results'), reportDir })
    for (const event of recordedRun(directory)) reporter.onEvent(event)
    const error = await reporter.close().catch((caught: unknown) => caught)
    expect(isAtpError(error, 'ATP_ALLURE_DIRECTORY')).toBe(true)
    expect(readdirSync(reportDir)).toEqual(['thesis.md'])
    expect(reporter.report).toBeUndefined()
  })
})

describe('reporterByName', () => {
  it('makes each reporter, and names them all when asked for another', () => {
    expect(reporterByName('allure', { resultsDir })).toBeInstanceOf(AllureReporter)
    expect(() => reporterByName('html' as 'json', { outputFile: 'x' })).toThrow(/terminal, junit, json, allure/)
  })
})
