/** `checkpoint` among what a scenario uses. */
import { expect, it } from 'vitest'
import { loadScenario, needsOf, printScenario, stepRegistry } from '../../../framework/scenario/index.ts'

const scenario = (use: string, more = '') => ({
  text: `atp: 1
name: t
${more}use:
  ${use.replaceAll('\n', '\n  ')}
steps: [{ action: keyboard.press, key: enter }]
`,
})
const LOGIN = `checkpoint:
  name: 登录
  prepare:
    - { action: keyboard.type, text: "\${secret.alice} \${vars.user}" }
    - { action: loop, count: 2, steps: [{ action: keyboard.press, key: tab }] }`
const load = async (use: string, more?: string) => (await loadScenario(scenario(use, more))).scenario

it('is read with its steps, which know what exists when they run', async () => {
  const read = await load(LOGIN, 'vars: { user: 李雷 }\n')
  expect(read.use?.checkpoint).toMatchObject({
    name: '登录',
    prepare: [{ action: 'keyboard.type', params: { text: '${secret.alice} ${vars.user}' } }, { action: 'loop' }],
  })
  expect((await loadScenario({ text: printScenario(read) })).scenario.use).toMatchObject({
    checkpoint: { name: '登录', prepare: [{ params: read.use?.checkpoint?.prepare[0]?.params }, { action: 'loop' }] },
  })
})

it('goes with every VM, with what its steps need; a role may have its own', async () => {
  const own = `vms:
  alice: {}
  bob: { checkpoint: { name: other, prepare: [{ action: keyboard.press, key: f1 }] } }
${LOGIN}`
  const read = await load(own, 'vars: { user: 李雷 }\nmatrix: { via: [qmp] }\ninput: { layout: de }\n')
  const { vms } = needsOf(read, stepRegistry, { via: 'qmp' })
  expect(vms).toMatchObject([
    {
      role: 'alice',
      checkpoint: {
        name: '登录',
        matrix: { via: 'qmp' },
        preparation: { vars: { user: '李雷' }, input: { layout: 'de' }, setup: [], teardown: [], steps: [{}, {}] },
      },
    },
    { role: 'bob', checkpoint: { name: 'other', preparation: { steps: [{ params: { key: 'f1' } }] } } },
  ])
  expect(vms[0]?.checkpoint?.preparation.use).toBeUndefined()
})

it.each([
  ['a name', 'checkpoint: { prepare: [{ action: keyboard.press, key: tab }] }', 'the name of a checkpoint must be'],
  ['steps', 'checkpoint: { name: x }', 'steps must be a list'],
  ['a step', 'checkpoint: { name: x, prepare: [] }', 'at least one step'],
  ['a map', 'checkpoint: x', 'must be a map with name and prepare'],
  ['known keys', 'checkpoint: { name: x, prepares: [] }', 'a checkpoint has no key "prepares"'],
  [
    'steps that name no machine',
    'checkpoint: { name: x, prepare: [{ action: keyboard.press, key: tab, on: alice }] }',
    'its steps name none',
  ],
  [
    'variables that exist',
    `checkpoint: { name: x, prepare: [{ action: keyboard.type, text: "\${vars.nobody}" }] }`,
    'vars.nobody} is not defined',
  ],
])('needs %s', async (_, use, problem) => {
  await expect(load(use)).rejects.toThrow(problem)
})
