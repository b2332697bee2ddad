import { mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { addRedaction } from '../../../framework/core/index.ts'
import { type JsonReport, JsonReporter } from '../../../reporters/json.ts'
import { PASSWORD, recordedRun } from './recorded-run.ts'

addRedaction(PASSWORD)
const directory = mkdtempSync(join(tmpdir(), 'atp-json-'))

async function report(upTo?: number): Promise<{ text: string; document: JsonReport }> {
  const outputFile = join(directory, 'report.json')
  const reporter = new JsonReporter({ outputFile })
  for (const event of recordedRun(directory).slice(0, upTo)) reporter.onEvent(event)
  await reporter.close()
  const text = readFileSync(outputFile, 'utf8')
  return { text, document: JSON.parse(text) as JsonReport }
}

describe('JsonReporter', () => {
  it('writes the run with its counts', async () => {
    const { document, text } = await report()
    expect(document).toMatchObject({
      version: 1,
      run: 'run-20261120-093000',
      passed: false,
      exit_code: 3,
      started: '2026-11-20T09:30:00.040Z',
    })
    expect(document.summary.verdicts).toEqual({ product: 1, infrastructure: 1, spec: 1, framework: 0 })
    expect(document.reports).toHaveLength(8)
    expect(text).not.toContain(PASSWORD)
  })

  it('keeps the earlier implementation’s fields of a scenario and its steps', async () => {
    const { document } = await report()
    const [first] = document.reports
    expect(first).toMatchObject({
      scenario_name: '输入 › 文本完整到达 qmp',
      tags: ['smoke', 'input'],
      passed: true,
      steps_executed: 3,
      passed_count: 3,
      failed_count: 0,
      duration_ms: 1240,
    })
    expect(first!.steps[1]).toEqual({
      step_index: 1,
      description: 'type "Hello"',
      status: 'Success',
      error: null,
      duration_ms: 48,
      output: null,
      verified: true,
      verification_latency_ms: 2.6,
      kind: 'keyboard.type',
      parent: 0,
    })
    expect(first!.steps[2]).toMatchObject({ output: 'exit 0', verified: null })
  })

  it('never calls unobserved input verified', async () => {
    const { document } = await report()
    const login = document.reports.find(({ scenario_name }) => scenario_name === '登录')!
    expect(login).toMatchObject({ flaky: true, unverified: 1, status: 'passed' })
    expect(login.steps.map(({ verified }) => verified)).toEqual([true, null])
    const failed = document.reports.find(({ id }) => id === 'TC-1042')!
    expect(failed.steps[0]).toMatchObject({ status: 'Failed', verified: false })
    expect(failed.attempts.map(({ status, verdict }) => [status, verdict])).toEqual([
      ['failed', 'product'],
      ['failed', 'product'],
    ])
    expect(failed.deliveries[0]).toMatchObject({ vm: 'vm-002', outcome: 'damaged', lost: 2 })
  })

  it('is no pass when the run never reached its end', async () => {
    const { document } = await report(8)
    expect(document).toMatchObject({ passed: false, exit_code: null })
    expect(document.reports[0]).toMatchObject({ status: 'pending', passed: false })
    expect(document.reports[0]!.steps[0]).toMatchObject({
      status: 'Failed',
      error: 'the test ended before this step did',
    })
  })
})
