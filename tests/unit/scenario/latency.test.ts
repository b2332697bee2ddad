import { describe, expect, it } from 'vitest'
import { loadScenario, ScenarioExecutor, walkReports } from '../../../framework/scenario/index.ts'
import { memoryVm } from './memory-vm.ts'

const latency = { level: 'kernel', samples: 1, minMs: 2, p50Ms: 2, p95Ms: 2, p99Ms: 2, maxMs: 2, boundMs: 0.5 } as const

/** What `expect.latency` comes to after three presses of 2 ± 0.5 ms each. */
async function judged(limits: string) {
  const text = `
name: 延迟
steps:
  - { action: keyboard.send_keys, keys: [a, b, c] }
  - { action: expect.latency${limits} }`
  const { scenario } = await loadScenario({ text }, { file: '/p/x.spec.yaml' })
  const vm = memoryVm('vm-1', [], {
    deliver: (action) => ({ action: `keyboard.${action}`, latency, latenciesMs: [2] }),
  })
  const report = await new ScenarioExecutor({ resolveVm: () => vm }).execute(scenario)
  return [...walkReports(report.steps)].at(-1)
}

describe('expect.latency', () => {
  it('passes within its limits and tells the figures', async () => {
    const step = await judged(', p95: 20ms, max: <1s, min_samples: 3')
    expect(step).toMatchObject({ status: 'passed', note: 'p95 is 2.00 ± 0.50 ms, max is 2.00 ± 0.50 ms' })
  })

  it('fails beyond them, when it cannot know, and with too few samples', async () => {
    for (const [limits, code, complaint] of [
      [', p50: 1ms, min_samples: 3', 'ATP_EXPECT_LATENCY', 'the keyboard of vm-1 is too slow: p50 is 2.00 ± 0.50 ms'],
      [', p50: 2ms, min_samples: 3', 'ATP_EXPECT_INCONCLUSIVE', 'the limit of 2 ms lies inside'],
      [', p50: 9ms', 'ATP_EXPECT_INCONCLUSIVE', '3 samples; this assertion needs 20'],
      [', input: mouse, p50: 9ms', 'ATP_EXPECT_INCONCLUSIVE', 'the mouse of vm-1: nothing was sent'],
      ['', 'ATP_EXPECT_LIMIT', 'no limit is given'],
    ]) {
      expect((await judged(limits as string))?.error).toMatchObject({
        code,
        message: expect.stringContaining(complaint!),
      })
    }
  })
})
