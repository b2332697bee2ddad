import { describe, expect, it } from 'vitest'
import type { SpiceSession } from '../../../framework/desktop/spice-session.ts'
import type { DisplayFigures } from '../../../framework/protocols/spice/index.ts'
import { loadScenario, ScenarioExecutor, walkReports } from '../../../framework/scenario/index.ts'
import { memoryVm } from './memory-vm.ts'

const figures: DisplayFigures = {
  display: 1,
  width: 1024,
  height: 768,
  durationMs: 2000,
  frames: 15,
  framesPerS: 7.5,
  bytes: 200_000,
  bytesPerS: 100_000,
  messages: 50,
  messagesPerS: 25,
  draws: { copy: 40 },
  images: { lz4: 40 },
  videoFrames: {},
}

async function measured(limits: string) {
  const text = `
name: 带宽
steps:
  - { action: spice.measure, for: 2s, display: 1, capture: f ${limits} }
  - { action: log, message: "\${f.frames_per_s} \${f.bytes_per_s} \${f.messages_per_s} \${f.draws.copy} \${f.duration_ms}" }`
  const { scenario } = await loadScenario({ text }, { file: '/p/x.spec.yaml' })
  const asked: unknown[] = []
  const session = {
    measure: async ({ signal: _, ...options }: { signal?: AbortSignal }) => {
      asked.push(options)
      return figures
    },
  }
  const vm = { ...memoryVm('vm-1'), spice: async () => session as unknown as SpiceSession }
  const report = await new ScenarioExecutor({ resolveVm: () => vm }).execute(scenario)
  return { asked, steps: [...walkReports(report.steps)] }
}

describe('spice.measure', () => {
  it('stores and tells the figures', async () => {
    const { asked, steps } = await measured('')
    expect(asked).toEqual([{ forMs: 2000, display: 1 }])
    expect(steps.map(({ status, note }) => `${status} ${note}`)).toEqual([
      'passed 7.5 frames, 100000 bytes, 25 messages a second',
      'passed 7.5 100000 25 40 2000',
    ])
  })

  it('passes at its limits and fails beyond', async () => {
    const at = ', max_bytes_per_s: 100000, max_messages_per_s: 25, max_frames_per_s: 7.5, min_frames_per_s: 7.5'
    expect((await measured(at)).steps[0]?.status).toBe('passed')
    for (const [limit, complaint] of [
      ['max_bytes_per_s: 99999', '100000 bytes a second, more than 99999'],
      ['max_messages_per_s: 24', '25 messages a second, more than 24'],
      ['max_frames_per_s: 7.4', '7.5 frames a second, more than 7.4'],
      ['min_frames_per_s: 7.6', '7.5 frames a second, fewer than 7.6'],
    ]) {
      const { error } = (await measured(`, ${limit}`)).steps[0] ?? {}
      expect(error).toMatchObject({ code: 'ATP_SPICE_FIGURES', message: `display 1 of vm-1: ${complaint}` })
    }
  })
})
