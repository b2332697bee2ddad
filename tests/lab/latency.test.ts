import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { project, spec } from './project.ts'

describe('latency as an assertion', () => {
  it('counts all that a keyboard sent, mixes no paths, and does not pass when it cannot know', async () => {
    const home = project(
      {
        'specs/a.spec.ts': spec(`
const press = async (keyboard, count, options = {}) => {
  for (let done = 0; done < count; done++) await keyboard.press('shift', { verify: 'require', ...options })
}
test('single keys', async ({ keyboard }) => {
  await press(keyboard, 25)
  expect(keyboard).toHaveLatency({ p95: '<30s' })
  expect(keyboard).not.toHaveLatency({ max: '0.01ms' })
  expect(keyboard.deliveries).toHaveLength(25)
})
test('too few', async ({ keyboard }) => {
  await press(keyboard, 3)
  expect(keyboard).not.toHaveLatency({ p95: '<1ms' })
})
test('mixed', async ({ keyboard }) => {
  await press(keyboard, 2)
  await press(keyboard, 2, { via: 'qmp-socket' })
  expect(keyboard).toHaveLatency({ p95: '<30s', minSamples: 1 })
})`),
        'specs/b.spec.yaml': `name: 延迟
steps:
  - { action: keyboard.send_keys, keys: [shift, shift, shift, shift] }
  - { action: expect.latency, p95: 30s, min_samples: 3 }
  - { action: mouse.move, x: 10, y: 20 }
  - { action: mouse.move, x: 30, y: 20 }
  - { action: expect.latency, input: mouse, max: 30s, min_samples: 1 }
`,
      },
      { report: { allure: {}, json: 'report.json' } },
    )
    const outcome = await home.run(['test'])
    const { reports, latency } = home.report()
    const ended = Object.fromEntries(reports.map((test) => [test.scenario_name, [test.status, test.errors[0]?.code]]))
    expect(ended, outcome.stdout).toEqual({
      'single keys': ['passed', undefined],
      'too few': ['broken', 'ATP_EXPECT_INCONCLUSIVE'],
      mixed: ['broken', 'ATP_EXPECT_MIXED'],
      延迟: ['passed', undefined],
    })
    // Each VM's first key is a warm-up.
    const keys = latency.find(({ quantity, path }) => quantity === 'key-to-guest' && path.startsWith('qmp/'))
    expect(keys).toMatchObject({ samples: 24 + 2 + 1 + 3, warmup: 4, clocks: ['echo'], excluded: {} })
    expect(keys?.bound).toBeGreaterThan(0)
    expect(latency.map(({ path }) => path)).toContainEqual(expect.stringMatching(/^qmp-socket\//))

    const folder = join(home.dir, 'allure-results')
    const attached = readdirSync(folder)
      .filter((name) => name.endsWith('-globals.json'))
      .flatMap((name) => {
        const globals = JSON.parse(readFileSync(join(folder, name), 'utf8')) as { attachments: { name: string }[] }
        return globals.attachments.map((attachment) => attachment.name)
      })
    expect(attached).toEqual(expect.arrayContaining(['latency.csv', 'latency.hlog']))
  })
})
