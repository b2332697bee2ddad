import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { addRedaction } from '../../../framework/core/index.ts'
import {
  RunModel,
  allEvidence,
  lastAttempt,
  summarise,
  titleOf,
  verdictOfTest,
} from '../../../framework/evidence/index.ts'
import type { RunEvent } from '../../../framework/evidence/index.ts'
import { PASSWORD, recordedRun } from '../reporters/recorded-run.ts'

addRedaction(PASSWORD)
const events = recordedRun(mkdtempSync(join(tmpdir(), 'atp-evidence-')))

function fold(list: readonly RunEvent[]): RunModel {
  const model = new RunModel()
  for (const event of list) model.apply(event)
  return model
}

describe('RunModel', () => {
  it('nests steps under their attempt and evidence under its step', () => {
    const test = fold(events).tests.get('specs/input/text.spec.ts > 输入 > 文本完整到达 qmp')!
    const attempt = lastAttempt(test)
    expect(titleOf(test)).toBe('输入 › 文本完整到达 qmp')
    expect(attempt.steps).toHaveLength(1)
    expect(attempt.steps[0]!.children.map((step) => step.start.kind)).toEqual(['keyboard.type', 'guest.exec'])
    expect(attempt.steps[0]!.children[0]!.inputs[0]!.delivery.input).toBe('Hello')
    expect(attempt.inputs[0]!.delivery.action).toBe('keyboard.press')
    expect(allEvidence(attempt).inputs).toHaveLength(2)
    expect(attempt.vms.map((vm) => vm.name)).toEqual(['vm-001'])
    expect(attempt.waitMs).toBe(812)
  })

  it('keeps each attempt with its own evidence', () => {
    const test = fold(events).tests.get('TC-1042')!
    expect(test.attempts.map((attempt) => attempt.attachments.length)).toEqual([3, 3])
    expect(test.attempts.map((attempt) => attempt.end?.willRetry)).toEqual([true, false])
  })

  it('redacts secrets in every event', () => {
    const model = fold(events)
    expect(JSON.stringify([...model.tests.values()])).not.toContain(PASSWORD)
    expect(JSON.stringify(events)).toContain(PASSWORD)
  })

  it('replaces an attempt that starts again, as watch reruns do', () => {
    const model = fold([...events, ...events])
    expect(model.tests.get('TC-1042')!.attempts).toHaveLength(2)
    expect(lastAttempt(model.tests.get('TC-1042')!).attachments).toHaveLength(3)
  })

  it('forgets the tests of a file that runs anew', () => {
    const file = fold(events).tests.get('TC-1042')!.file
    const again: RunEvent = { type: 'run.plan', v: 1, time: 1, files: [file], tests: 0, again: true }
    const model = fold([...events, again])
    expect([...model.tests.values()].filter((test) => test.file === file)).toEqual([])
    expect(model.tests.size).toBeGreaterThan(0)
  })

  it('keeps what a broken run sends without its beginning', () => {
    const end = events.find((event) => event.type === 'test.end' && event.status === 'failed')!
    const orphan = events.find((event) => event.type === 'attachment' && event.step === '1')!
    const model = fold([orphan, end])
    const test = model.tests.get('TC-1042')!
    expect(test.name).toBe('TC-1042')
    expect(lastAttempt(test).attachments).toHaveLength(1)
    expect(verdictOfTest(test)).toBe('product')
  })
})

describe('summarise', () => {
  it('counts tests by their last attempt, verdicts, flaky and unverified', () => {
    const summary = summarise(fold(events))
    expect(summary).toMatchObject({
      files: 3,
      tests: 8,
      counts: { passed: 3, failed: 1, broken: 2, skipped: 1, pending: 1 },
      verdicts: { product: 1, infrastructure: 1, spec: 1, framework: 0 },
      flaky: 1,
      retries: 2,
      unverifiedTests: 2,
      leaked: 1,
    })
    expect(summary.inputs).toMatchObject({ actions: 6, delivered: 3, damaged: 1, unverified: 2, lost: 2 })
  })

  it('does not count what nobody watched as lost', () => {
    expect(summarise(fold(events)).inputs.sent - summarise(fold(events)).inputs.seen).toBe(2 + 8)
  })
})
