import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isAtpError } from '../../../framework/core/index.ts'
import {
  loadScenario,
  needsOf,
  printScenario,
  stepRegistry,
  type LoadOptions,
  type Problem,
  type Scenario,
  type Step,
} from '../../../framework/scenario/index.ts'

const load = async (text: string, options: LoadOptions = {}) =>
  loadScenario({ text }, { file: 'x.spec.yaml', ...options })
const steps = async (lines: string, options: LoadOptions = {}) =>
  (await load(`name: n\nsteps:\n${lines}`, options)).scenario.steps
/** Only what a step says, not where. */
const plain = ({ at: _at, keys: _keys, dialect: _dialect, steps: inner, ...step }: Step): object => ({
  ...step,
  ...(inner ? { steps: inner.map(plain) } : {}),
})
const canonical = ({ setup, steps: body, teardown, at: _at, matrixAt: _matrixAt, file: _file, ...rest }: Scenario) => ({
  ...rest,
  setup: setup.map(plain),
  steps: body.map(plain),
  teardown: teardown.map(plain),
})

/** Problems as `line:column CODE message`. */
async function problems(text: string, options: LoadOptions = {}): Promise<string[]> {
  try {
    await load(text, options)
  } catch (error) {
    if (!isAtpError(error, 'ATP_SCENARIO_INVALID')) throw error
    return (error.context['problems'] as Problem[]).map(
      ({ line, column, code, message }) => `${line}:${column} ${code} ${message}`,
    )
  }
  return []
}

describe('seed dialects, byte for byte', () => {
  it('reads the flat one', async () => {
    const { scenario, notes } = await loadScenario('specs/seeds/flat.spec.yaml')
    expect(scenario.name).toBe('键盘输入测试')
    expect(scenario.steps.map(plain)).toEqual([
      { action: 'vm.connect', on: ['vm-001'], params: {} },
      { action: 'keyboard.type', params: { text: 'Hello World' } },
      { action: 'wait', params: { duration: '2s' } },
      { action: 'verify.command_success', on: ['vm-001'], params: {} },
    ])
    expect(scenario.steps.map((step) => [step.dialect, step.at.line])).toEqual([
      ['A', 6],
      ['A', 11],
      ['A', 16],
      ['A', 20],
    ])
    expect(notes).toEqual([])
  })

  it('reads the dotted one', async () => {
    const { scenario } = await loadScenario('specs/seeds/dotted.spec.yaml')
    expect(scenario.steps.map(plain)).toEqual([
      { action: 'keyboard.press', params: { key: 'a' }, verify: 'require' },
      { action: 'keyboard.type', params: { text: 'Hello World' }, verify: 'require' },
      { action: 'wait', params: { duration: '1s' } },
    ])
  })

  it('reads the nested one, which needs a VDI platform', async () => {
    const file = 'specs/seeds/nested.spec.yaml'
    const { scenario } = await loadScenario(file)
    expect(scenario.steps.map(plain)).toEqual([
      { action: 'vdi.create_desk_pool', params: { name: '测试桌面池', count: 2 } },
      { action: 'vdi.enable_desk_pool', params: {} },
      { action: 'vdi.start_domain', params: {} },
      { action: 'vm.connect', params: {} },
      { action: 'keyboard.type', params: { text: 'Hello from ATP!' } },
    ])
    expect(needsOf(scenario, stepRegistry)).toEqual({ vms: [], locks: [], platform: true })
    expect(await problems(readFileSync(file, 'utf8'))).toEqual([])
  })
})

describe('forms of a step', () => {
  it.each([
    ['A', '  - { type: wait, duration: 2s }'],
    ['B', '  - { wait: { duration: 2s } }'],
    ['B', '  - wait: 2s'],
    ['C', '  - { action: wait, duration: 2s }'],
    ['D', '  - { action: { type: wait, duration: 2 } }'],
    ['E', '  - { action: { wait: { duration: 2 } } }'],
  ])('wait in dialect %s: %s', async (dialect, text) => {
    const [step] = await steps(text)
    expect(step).toMatchObject({ action: 'wait', params: { duration: '2s' }, dialect })
  })

  it.each([
    ['{ type: virtualization_action, action: send_keyboard, text: x }', 'keyboard.type'],
    ['{ type: virtualization_action, action: send_keyboard, key: a }', 'keyboard.press'],
    ['{ type: virtualization_action, action: send_keyboard, keys: [win+r, enter] }', 'keyboard.send_keys'],
    ['{ virtualization_action: { type: send_keyboard, text: x, verify: true } }', 'keyboard.type'],
    ['{ action: send_text, text: x }', 'keyboard.type'],
    ['{ action: { type: send_key, key: a } }', 'keyboard.press'],
    ['{ action: { send_key: { key: a } } }', 'keyboard.press'],
    ['{ action: { type: mouse_click, button: left, x: 1, y: 2 } }', 'mouse.click'],
    ['{ type: virtualization_action, action: send_mouse_move, x: 1, y: 2 }', 'mouse.move'],
    ['{ type: virtualization_action, action: execute_command, command: ls }', 'command.exec'],
    ['{ action: { type: exec_command, command: ls }, name: label, verify: false, timeout: 10 }', 'command.exec'],
    [
      '{ type: verify, condition: domain_status, domain_id: v, expected_status: running, timeout: 30s }',
      'expect.vm_status',
    ],
    ['{ verify: { condition: command_success } }', 'verify.command_success'],
    ['{ type: verify, condition: { condition: command_success, domain_id: vm-001 } }', 'verify.command_success'],
    ['{ action: { type: verify_command_success, timeout_secs: 5 } }', 'verify.command_success'],
    ['{ type: loop, count: 2, steps: [{ action: log, message: "${loop.index}" }] }', 'loop'],
    ['{ loop: { count: 2, steps: [{ wait: 1s }] } }', 'loop'],
  ])('%s', async (text, action) => {
    expect((await steps(`  - ${text}`))[0]?.action).toBe(action)
  })

  it('takes a flat name for the label, and for the pool name where there is one', async () => {
    const [label, pool, outer] = await steps(
      [
        '  - { action: wait, name: rest, duration: 1s }',
        '  - { type: vdi_action, action: create_desk_pool, name: p, template_id: t, count: 2, capture_output: desk_pool }',
        '  - { name: label, action: { type: vdi_create_desk_pool, name: p, count: 1 } }',
      ].join('\n'),
      { checkNeeds: false },
    )
    expect(label?.label).toBe('rest')
    expect(pool).toMatchObject({ params: { name: 'p', template: 't', count: 2 }, capture: 'desk_pool' })
    expect(outer).toMatchObject({ label: 'label', params: { name: 'p' } })
  })

  it('reads the executor dialect with its targets and its input channel', async () => {
    const { scenario, notes } = await load(`
name: D
target_host: "qemu:///system"
target_domains: { mode: list, names: [vm-1, vm-2], exclude: [vm-2] }
parallel: { enabled: false, max_concurrent: 10, on_failure: continue }
verification: { ws_addr: "0.0.0.0:8765", connection_timeout: 30, vm_id: desk-7, guest_verifier_path: /opt/v }
input_channel: { channel_type: qmp, key_delay_ms: 50, key_hold_ms: 100 }
steps:
  - { name: l, action: { type: send_text, text: hi }, verify: false, timeout: 10 }
`)
    expect(scenario.target).toEqual({ hosts: 'qemu:///system', domains: ['vm-1'] })
    expect(scenario.input).toEqual({ channel: 'qmp', key_delay: '50ms', key_hold: '100ms' })
    expect(scenario.steps.map(plain)).toEqual([
      { action: 'keyboard.type', label: 'l', params: { text: 'hi' }, timeout: '10s' },
    ])
    expect(scenario.verification).toEqual({
      ws_addr: '0.0.0.0:8765',
      connection_timeout: '30s',
      vm_id: 'desk-7',
    })
    expect(notes.map((note) => note.code)).toEqual([
      'ATP_SCENARIO_BARE_SECONDS',
      'ATP_SCENARIO_NO_EFFECT',
      'ATP_SCENARIO_BARE_SECONDS',
    ])
  })

  it('reads JSON by the same path, and anchors', async () => {
    const json = await loadScenario({ text: '{"name":"j","steps":[{"action":"wait","duration":"1s"}]}' })
    expect(json.scenario.steps[0]?.params).toEqual({ duration: '1s' })
    const anchored = await steps('  - &w { action: wait, duration: 1s }\n  - *w')
    expect(anchored.map((step) => step.params)).toEqual([{ duration: '1s' }, { duration: '1s' }])
  })

  it('keeps the words that older YAML took for booleans', async () => {
    const { scenario } = await load('name: n\nvars: { y: yes, n: off, o: 0123 }\nsteps: [{ action: log, message: on }]')
    expect(scenario.vars).toEqual({ y: 'yes', n: 'off', o: 123 })
    expect(scenario.steps[0]?.params).toEqual({ message: 'on' })
  })
})

describe('problems', () => {
  it('are gathered, each with its place, a suggestion and a code frame', async () => {
    const text = `name: n
stepps: 1
steps:
  - action: keyboard.tipe
    text: x
  - action: wait
    durration: 1s
  - { action: wait, duration: 2 hours }
  - { action: keyboard.type, text: 中文 }
  - { action: keyboard.press, key: ctrl+entr }
  - { action: log, message: "\${nobody}" }
  - { nothing: here }
`
    expect(await problems(text)).toEqual([
      '2:1 ATP_SCENARIO_UNKNOWN_KEY a scenario has no key "stepps"',
      '4:13 ATP_SCENARIO_UNKNOWN_ACTION there is no action "keyboard.tipe"',
      '7:5 ATP_SCENARIO_UNKNOWN_KEY wait has no key "durration"',
      '8:31 ATP_DURATION "2 hours" is not a duration',
      expect.stringMatching(/^9:36 ATP_KEY_UNMAPPED layout "us" has no key for "中"/),
      expect.stringMatching(/^10:36 ATP_KEY_UNKNOWN/),
      '11:29 ATP_SCENARIO_UNDEFINED ${nobody} is not defined',
      expect.stringMatching(/^12:5 ATP_SCENARIO_STEP_FORM .*its keys are nothing/),
    ])
    const error = await load(text).catch((thrown: Error) => thrown)
    expect((error as Error).message).toContain('did you mean "keyboard.type"?')
    expect((error as Error).message).toContain('> 7 |     durration: 1s\n    |     ^')
  })

  it.each([
    ['a second document', 'name: n\nsteps: [{ wait: 1s }]\n---\nname: m', '3:1 ATP_SCENARIO_SYNTAX'],
    ['bad syntax', 'name: n\nsteps: [', '2:9 ATP_SCENARIO_SYNTAX'],
    ['a key twice', 'name: n\nname: m\nsteps: [{ wait: 1s }]', '2:1 ATP_SCENARIO_SYNTAX'],
    [
      'the same said twice',
      'name: n\nsteps: [{ action: wait, duration: 1s, timeout: 1s, timeout_secs: 2 }]',
      '2:66 ATP_SCENARIO_VALUE',
    ],
    ['a connection configuration', 'hosts: [{ id: a, host: b }]', '1:1 ATP_SCENARIO_VALUE'],
    ['no steps', 'name: n', '1:1 ATP_SCENARIO_VALUE'],
    ['an empty list of steps', 'name: n\nsteps: []', '2:8 ATP_SCENARIO_VALUE'],
    ['a number for a text', 'name: n\nsteps: [{ action: keyboard.type, text: 0123 }]', '2:40 ATP_SCENARIO_VALUE'],
    ['a negative duration', 'name: n\nsteps: [{ wait: -1 }]', '2:17 ATP_DURATION'],
    [
      'an unknown role',
      'name: n\nuse: { vms: [alice] }\nsteps: [{ action: keyboard.type, on: alic, text: x }]',
      '3:38 ATP_SCENARIO_NO_TARGET',
    ],
    [
      'a VM nobody can know',
      'name: n\nsteps: [{ action: command.exec, command: x, capture: c }, { action: vm.connect, on: "${c.stdout}" }]',
      '2:85 ATP_SCENARIO_NO_TARGET',
    ],
    ['a pattern for VMs', 'name: n\ntarget_domains: win*\nsteps: [{ wait: 1s }]', '2:17 ATP_SCENARIO_UNSUPPORTED'],
    [
      'parallel targets',
      'name: n\nparallel: { enabled: true }\nsteps: [{ wait: 1s }]',
      '2:11 ATP_SCENARIO_UNSUPPORTED',
    ],
    [
      'a custom step without handler',
      'name: n\nsteps: [{ action: { type: custom, data: 1 } }]',
      '2:9 ATP_SCENARIO_NO_HANDLER',
    ],
    ['a duration no timer can count', 'name: n\nsteps: [{ wait: 1000h }]', '2:17 ATP_DURATION'],
    [
      'a limit that is not known yet',
      'name: n\ntimeout: "${vars.t}"\nvars: { t: 1s }\nsteps: [{ wait: 1s }]',
      '2:10 ATP_SCENARIO_VALUE',
    ],
    ['an unknown version', 'atp: 2\nname: n\nsteps: [{ wait: 1s }]', '1:6 ATP_SCENARIO_VALUE'],
    ['an open expression', 'name: n\nsteps: [{ action: log, message: "${vars.x" }]', '2:33 ATP_SCENARIO_EXPRESSION'],
    [
      'a later capture',
      'name: n\nsteps: [{ action: log, message: "${c}" }, { action: file.read, path: /x, capture: c }]',
      '2:33 ATP_SCENARIO_UNDEFINED',
    ],
    [
      'loop outside a loop',
      'name: n\nsteps: [{ action: log, message: "${loop.index}" }]',
      '2:33 ATP_SCENARIO_UNDEFINED',
    ],
    ['neither count nor over', 'name: n\nsteps: [{ action: loop, steps: [{ wait: 1s }] }]', '2:9 ATP_SCENARIO_VALUE'],
    [
      'an alias that contains itself',
      'name: n\nvars: &v { again: *v }\nsteps: [{ wait: 1s }]',
      '1:1 ATP_SCENARIO_SYNTAX',
    ],
    ['steps that drive applications', 'name: n\nsteps: [{ action: app.open }]', '2:19 ATP_SCENARIO_NEEDS_APPS'],
  ])('%s', async (_what, text, expected) => {
    expect((await problems(text))[0]).toMatch(new RegExp(`^${expected} `))
  })

  it('unknown keys are notes when reading leniently', async () => {
    const { notes } = await load('name: n\nextra: 1\nsteps: [{ action: wait, duration: 1s, x: 1 }]', { lenient: true })
    expect(notes.map((note) => note.code)).toEqual(['ATP_SCENARIO_UNKNOWN_KEY', 'ATP_SCENARIO_UNKNOWN_KEY'])
  })

  it('a list of modifiers and one key is remarked upon', async () => {
    const { notes } = await load('name: n\nsteps: [{ action: keyboard.send_keys, keys: [ctrl, alt, del] }]')
    expect(notes[0]?.message).toContain('"ctrl+alt+del"')
  })

  it('skipped characters are not refused', async () => {
    expect(await problems('name: n\nsteps: [{ action: keyboard.type, text: 中, on_unmapped: skip }]')).toEqual([])
  })

  it('never throws anything but its own error, whatever the text', async () => {
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.string(), fc.json()), async (text) => {
        const error: unknown = await load(text).catch((thrown: unknown) => thrown)
        expect(isAtpError(error, 'ATP_SCENARIO_INVALID')).toBe(true)
      }),
      { numRuns: 200 },
    )
  })
})

describe('the canonical print', () => {
  const full = `
atp: 1
id: TC-1042
name: 文本完整到达
description: 说明
tags: [smoke, 中文]
meta: { knownIssue: ABC-1 }
timeout: 5m
vars: { greeting: "你好 \${matrix.via}", list: [1, 2] }
matrix: { via: [qmp, spice] }
use: { pool: { template: win11, vms: [alice, bob] }, locks: [license] }
input: { channel: qmp, key_delay: 20ms, layout: us }
defaults: { timeout: 10s, retry: 1, verify: observe }
setup: [{ action: vm.connect, on: [alice, bob] }]
steps:
  - { action: keyboard.type, on: alice, text: Hello, via: "\${matrix.via}", verify: require }
  - { action: expect.file, on: alice, path: /tmp/note.txt, contains: Hello, timeout: 2 }
  - action: loop
    over: "\${vars.list}"
    steps:
      - { action: command.exec, command: "echo \${loop.item} $\${HOME}", expect: { exit_code: 0, stdout: { matches: "^1" } }, capture: out, retry: { times: 2, delay: 500ms } }
      - { action: log, label: "on: yes", message: "\${out.stdout}", when: "out.exit_code == 0", on_failure: continue }
teardown: [{ action: screen.screenshot, on: alice }]
`
  it.each([
    ['everything', full],
    ['the flat seed', readFileSync('specs/seeds/flat.spec.yaml', 'utf8')],
    ['the dotted seed', readFileSync('specs/seeds/dotted.spec.yaml', 'utf8')],
    ['the nested seed', readFileSync('specs/seeds/nested.spec.yaml', 'utf8')],
  ])('of %s reads back to the same records', async (_name, text) => {
    const first = await load(text, { checkNeeds: false })
    const again = await load(printScenario(first.scenario), { checkNeeds: false })
    expect(canonical(again.scenario)).toEqual(canonical(first.scenario))
    expect(again.notes).toEqual([])
    expect(again.scenario.steps.every((step) => step.dialect === 'C')).toBe(true)
  })

  it('of VMs of the platform reads back, and of each role', async () => {
    const steps = 'steps: [{ action: vm.connect, on: [alice, bob] }]'
    const text = `name: n\nuse: { template: win11, vms: { alice: { platform: true }, bob: { template: "" } } }\n${steps}`
    await expect(load(text, { checkNeeds: false })).rejects.toThrow(/template must be text/)
    const odd = text.replace('""', 'win10').replace('true', '"yes"')
    await expect(load(odd, { checkNeeds: false })).rejects.toThrow(/platform is "yes"; it must be true or false/)
    const { scenario } = await load(text.replace('""', 'win10'), { checkNeeds: false })
    expect(scenario.use).toEqual({
      template: 'win11',
      vms: { alice: { platform: true }, bob: { template: 'win10' } },
    })
    const again = await load(printScenario(scenario), { checkNeeds: false })
    expect(again.scenario.use).toEqual(scenario.use)
  })

  it('keeps any text', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'grapheme', minLength: 1 }), async (text) => {
        const written = text.replaceAll('${', '$${')
        const first = await load(
          JSON.stringify({ name: 'n', steps: [{ action: 'file.write', path: '/x', content: written }] }),
        )
        const again = await load(printScenario(first.scenario))
        expect(again.scenario.steps[0]?.params['content']).toBe(written)
      }),
      { numRuns: 200 },
    )
  })
})

describe('included files', () => {
  it('are read relative to the file, with their own problems at their own places', async () => {
    const { mkdtempSync, writeFileSync } = await import('node:fs')
    const { tmpdir } = await import('node:os')
    const dir = mkdtempSync(`${tmpdir()}/atp-include-`)
    const write = (name: string, text: string) => writeFileSync(`${dir}/${name}`, text)
    write('main.spec.yaml', 'name: m\nsteps:\n  - { action: scenario.run, file: login.yaml }\n')
    write('login.yaml', 'name: 登录\nsteps:\n  - { action: keyboard.type, text: x }\n')
    const loaded = await loadScenario(`${dir}/main.spec.yaml`)
    expect(loaded.includes).toEqual([`${dir}/login.yaml`])
    expect(loaded.scenario.steps[0]?.scenario?.name).toBe('登录')
    write('login.yaml', 'name: l\nsteps:\n  - { action: wait, duration: soon }\n')
    await expect(loadScenario(`${dir}/main.spec.yaml`)).rejects.toThrow(/login\.yaml:3:31 ATP_DURATION/)
    write('login.yaml', 'name: l\nsteps:\n  - { action: scenario.run, file: main.spec.yaml }\n')
    await expect(loadScenario(`${dir}/main.spec.yaml`)).rejects.toThrow(/runs itself/)
    write('main.spec.yaml', 'name: m\nsteps:\n  - { action: scenario.run, file: gone.yaml }\n')
    await expect(loadScenario(`${dir}/main.spec.yaml`)).rejects.toThrow(/main\.spec\.yaml:3:35 ATP_SCENARIO_FILE/)
  })
})
