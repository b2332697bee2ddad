import { describe, expect, it } from 'vitest'
import { project, spec } from './project.ts'

const PLUGIN = `
export default {
  atp: 1,
  name: 'even',
  steps: [{
    action: 'check.even',
    summary: 'Fails for odd numbers',
    params: { properties: { value: { type: 'number' } }, required: ['value'] },
    run: async (_context, { value }) => {
      if (value % 2) throw new Error(value + ' is odd')
      return { note: value + ' is even' }
    },
  }],
  stepHandlers: { say: (_context, data) => ({ note: String(data) }) },
  matchers: { toBeEven: (received) => ({ pass: received % 2 === 0, message: () => received + ' is odd' }) },
}
`
const YAML =
  'atp: 1\nname: 插件\nsteps:\n  - { action: check.even, value: 4 }\n  - { action: custom, handler: say, data: 你好 }\n'

describe('plug-ins', () => {
  it('add step kinds, handlers and matchers', async () => {
    const home = project(
      {
        'plugins/even.mjs': PLUGIN,
        'specs/a.spec.yaml': YAML,
        'specs/a.spec.ts': spec(
          `test('matcher', () => { expect(4).toBeEven(); expect(() => expect(3).toBeEven()).toThrow('3 is odd') })`,
        ),
      },
      { plugins: ['./plugins/even.mjs'] },
    )
    const outcome = await home.run(['test'])
    expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 0 })
    const scenario = home.report().reports.find((report) => report.file.endsWith('.yaml'))
    expect(scenario?.steps.map((step) => step.output)).toEqual(['4 is even', '你好'])
    expect((await home.run(['scenario', 'validate'])).stdout).toMatch(/^ok {3}specs\/a\.spec\.yaml/)
  })

  it.each([
    ['nothing.mjs', '', /plugins\/nothing\.mjs[\s\S]*no plug-in/],
    ['old.mjs', "export default { atp: 0, name: 'old' }", /"old" was written for interface 0/],
    ['broken.mjs', "throw new Error('no desk')", /broken\.mjs[\s\S]*no desk/],
  ])('are refused when unusable: %s', async (file, code, message) => {
    const home = project({ [`plugins/${file}`]: code, 'specs/a.spec.yaml': YAML }, { plugins: [`./plugins/${file}`] })
    const outcome = await home.run(['test'])
    expect(outcome.code).toBe(2)
    expect(outcome.stdout + outcome.stderr).toMatch(message)
  })
})
