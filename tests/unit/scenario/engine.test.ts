import { describe, expect, it } from 'vitest'
import { isAtpError, Secret } from '../../../framework/core/index.ts'
import type { TestScopedEvent } from '../../../framework/evidence/events.ts'
import {
  combinationsOf,
  defineStep,
  loadScenario,
  needsOf,
  ScenarioExecutor,
  StepRegistry,
  stepRegistry,
  walkReports,
  type ExecuteOptions,
  type ScenarioServices,
  type TestReport,
} from '../../../framework/scenario/index.ts'
import { memoryPair } from '../../../framework/transport/memory.ts'
import { memoryVm, type GuestScript } from './memory-vm.ts'

interface Ran {
  report: TestReport
  /** Everything that was done to VMs, in order. */
  calls: string[]
  events: TestScopedEvent[]
}

/** Runs a scenario on VMs that exist as soon as they are named. */
async function run(
  text: string,
  {
    guest = {},
    services = {},
    ...options
  }: { guest?: GuestScript; services?: Partial<ScenarioServices> } & ExecuteOptions = {},
): Promise<Ran> {
  const { scenario } = await loadScenario(
    { text },
    { file: '/p/x.spec.yaml', ...(services.registry ? { registry: services.registry } : {}) },
  )
  const calls: string[] = []
  const events: TestScopedEvent[] = []
  const vms = new Map<string, ReturnType<typeof memoryVm>>()
  const resolveVm = (key = 'any') => {
    const vm = vms.get(key) ?? memoryVm(key, calls, guest)
    vms.set(key, vm)
    return vm
  }
  const executor = new ScenarioExecutor({ resolveVm, emit: (event) => events.push(event), root: '/p', ...services })
  return { report: await executor.execute(scenario, options), calls, events }
}
const scenario = (lines: string, more = '') => `name: n\n${more}\nsteps:\n${lines}`
const statuses = ({ report }: Ran) => [...walkReports(report.steps)].map((step) => `${step.action} ${step.status}`)
const step = ({ report }: Ran, index: number) => [...walkReports(report.steps)][index]

describe('the current set', () => {
  it('runs the flat seed on the VM it names', async () => {
    const { scenario: flat } = await loadScenario('specs/seeds/flat.spec.yaml')
    expect(needsOf(flat, stepRegistry)).toEqual({ vms: [{ name: 'vm-001' }], locks: [] })
    const calls: string[] = []
    const report = await new ScenarioExecutor({ resolveVm: (key) => memoryVm(String(key), calls) }).execute(flat)
    expect(report.passed).toBe(true)
    expect(calls).toEqual(['vm-001 type Hello World', 'vm-001 ping'])
    expect(report.steps.at(-1)?.note).toBe(
      'checked: no command ran; keyboard.type succeeded and the guest agent answered',
    )
    expect(report.durationMs).toBeGreaterThanOrEqual(2000)
  })

  it('runs the dotted seed on the VM it is given', async () => {
    const { scenario: dotted } = await loadScenario('specs/seeds/dotted.spec.yaml')
    expect(needsOf(dotted, stepRegistry)).toEqual({ vms: [{}], locks: [] })
    const vm = memoryVm('vm-007')
    const report = await new ScenarioExecutor({ resolveVm: () => vm }).execute(dotted)
    expect(report.passed).toBe(true)
    expect(vm.calls).toEqual(['vm-007 press a', 'vm-007 type Hello World'])
  })

  it('fails before anything is sent when there is no VM', async () => {
    const events: string[] = []
    const { scenario: dotted } = await loadScenario('specs/seeds/dotted.spec.yaml')
    const report = await new ScenarioExecutor({
      resolveVm: () => undefined,
      emit: (event) => events.push(event.type),
    }).execute(dotted)
    expect(report.status).toBe('broken')
    expect(report.error?.code).toBe('ATP_SCENARIO_NO_TARGET')
    expect(report.counts).toEqual({ passed: 0, failed: 0, broken: 0, skipped: 3 })
  })

  it('acts on all roles in name order, and only on the connected ones', async () => {
    const ran = await run(
      scenario(
        `  - { action: keyboard.press, key: a }
  - { action: vm.disconnect, on: bob }
  - { action: vm.connect, on: [bob, alice] }
  - { action: vm.disconnect, on: alice }
  - { action: keyboard.press, on: [alice, bob], key: b }
  - { action: vm.disconnect, on: bob }
  - { action: keyboard.press, key: c }`,
        'use: { vms: [bob, alice] }',
      ),
    )
    expect(ran.calls).toEqual(['alice press a', 'bob press a', 'alice press b', 'bob press b'])
    expect(ran.report.error?.code).toBe('ATP_SCENARIO_NO_TARGET')
  })

  it('follows the last VM that was named', async () => {
    const ran = await run(
      scenario(
        '  - { action: keyboard.press, on: one, key: a }\n  - { action: keyboard.press, on: two, key: b }\n  - { action: keyboard.press, key: c }',
      ),
    )
    expect(ran.calls).toEqual(['one press a', 'two press b', 'two press c'])
  })

  it('branches of a parallel step do not disturb each other', async () => {
    const ran = await run(
      scenario(
        `  - action: parallel
    steps:
      - { action: group, steps: [{ action: keyboard.press, on: alice, key: a }, { wait: 20ms }, { action: keyboard.press, key: b }] }
      - { action: group, steps: [{ wait: 10ms }, { action: keyboard.press, on: bob, key: c }, { action: keyboard.press, key: d }] }
  - { action: keyboard.press, key: e }`,
        'use: { vms: [alice, bob] }',
      ),
    )
    expect(ran.report.passed).toBe(true)
    expect(ran.calls).toEqual([
      'alice press a',
      'bob press c',
      'bob press d',
      'alice press b',
      'alice press e',
      'bob press e',
    ])
  })

  it('leases by role, name, target and matrix', async () => {
    const of = async (text: string) => {
      const { scenario: read } = await loadScenario({ text })
      return combinationsOf(read).map(({ values }) => needsOf(read, stepRegistry, values))
    }
    expect(
      await of(scenario('  - { action: keyboard.press, on: "${matrix.vm}", key: a }', 'matrix: { vm: [one, two] }')),
    ).toEqual([
      { vms: [{ name: 'one' }], locks: [] },
      { vms: [{ name: 'two' }], locks: [] },
    ])
    expect(
      await of(
        scenario(
          '  - { action: keyboard.press, key: a }',
          'use: { profile: "${matrix.p}", labels: [gpu], locks: [l] }\nmatrix: { p: [ps2] }',
        ),
      ),
    ).toEqual([{ vms: [{ profile: 'ps2', labels: ['gpu'] }], locks: ['l'] }])
    expect(
      await of(scenario('  - { action: keyboard.press, key: a }', 'target: { domains: vm-9, hosts: lab-b }')),
    ).toEqual([{ vms: [{ name: 'vm-9', host: 'lab-b' }], locks: [] }])
    expect(
      await of(
        scenario('  - { action: keyboard.press, key: a }', 'use: { vms: { alice: { profile: x, name: vm-3 }, bob: } }'),
      ),
    ).toEqual([{ vms: [{ role: 'alice', profile: 'x', name: 'vm-3' }, { role: 'bob' }], locks: [] }])
    expect(await of(scenario('  - { wait: 1s }'))).toEqual([{ vms: [], locks: [] }])
  })
})

describe('failures', () => {
  it('skip the rest with a reason and still run the teardown', async () => {
    const ran = await run(
      scenario(
        '  - { action: command.exec, command: "false", verify: true }\n  - { action: keyboard.press, key: a }',
        'teardown: [{ action: command.exec, command: clean }]',
      ),
      { guest: { exec: (line) => ({ exitCode: line === 'false' ? 1 : 0, stderrText: 'no such thing' }) } },
    )
    expect(statuses(ran)).toEqual(['command.exec failed', 'keyboard.press skipped', 'command.exec passed'])
    expect(step(ran, 1)?.reason).toBe('"command.exec false" failed')
    expect(ran.calls).toEqual(['any shell false', 'any shell clean'])
    expect(ran.report).toMatchObject({
      status: 'failed',
      passed: false,
      counts: { passed: 1, failed: 1, broken: 0, skipped: 1 },
    })
    expect(ran.report.error?.message).toBe('false: exit 1, expected exit 0; stderr: no such thing')
  })

  it('start their stack in the scenario file', async () => {
    const ran = await run(
      scenario('  - { action: log, message: x }\n  - action: command.exec\n    command: "false"\n    verify: true'),
      { guest: { exec: () => ({ exitCode: 1 }) } },
    )
    expect((ran.report.failure as Error).stack?.split('\n')[1]).toBe('    at command.exec false (/p/x.spec.yaml:5:5)')
    expect(step(ran, 1)?.location).toEqual({ file: 'x.spec.yaml', line: 5, column: 5 })
    expect(ran.report.file).toBe('x.spec.yaml')
    expect(JSON.stringify(ran.report)).not.toContain('"failure"')
  })

  it('of setup skip the steps, not the teardown', async () => {
    const ran = await run(
      scenario('  - { wait: 1s }', 'setup: [{ action: vm.connect }]\nteardown: [{ action: log, message: bye }]'),
      { guest: { state: 'shutoff' } },
    )
    expect(statuses(ran)).toEqual(['vm.connect broken', 'wait skipped', 'log passed'])
    expect(ran.report.error?.code).toBe('ATP_SCENARIO_VM_NOT_RUNNING')
  })

  it('do not stop anything with on_failure: continue, yet fail the scenario and its holders', async () => {
    const ran = await run(
      scenario(`  - action: loop
    count: 2
    steps: [{ action: command.exec, command: "\${loop.number}", verify: true, on_failure: continue }, { action: log, message: "\${loop.index}" }]
  - { action: log, message: after }`),
      { guest: { exec: (line) => ({ exitCode: Number(line) }) } },
    )
    expect(statuses(ran)).toEqual([
      'loop failed',
      'command.exec failed',
      'log passed',
      'command.exec failed',
      'log passed',
      'log passed',
    ])
    expect(ran.report.status).toBe('failed')
  })

  it('are tried again as often as retry says', async () => {
    let tries = 0
    const ran = await run(
      scenario('  - { action: command.exec, command: x, verify: true, retry: { times: 3, delay: 1ms } }'),
      { guest: { exec: () => ({ exitCode: ++tries < 3 ? 1 : 0 }) } },
    )
    expect(step(ran, 0)).toMatchObject({ status: 'passed', attempts: 3 })
    expect(ran.report.passed).toBe(true)
  })

  it('of a retried group count only in its last attempt', async () => {
    let tries = 0
    const ran = await run(
      scenario('  - { action: group, retry: 1, steps: [{ action: command.exec, command: x, verify: true }] }'),
      { guest: { exec: () => ({ exitCode: ++tries < 2 ? 1 : 0 }) } },
    )
    expect(ran.report).toMatchObject({ passed: true, counts: { passed: 2, failed: 0 } })
  })

  it('of parallel branches let the others finish', async () => {
    const ran = await run(
      scenario(
        '  - { action: parallel, steps: [{ action: command.exec, command: x, verify: true }, { action: group, steps: [{ wait: 10ms }, { action: log, message: done }] }] }',
      ),
      { guest: { exec: () => ({ exitCode: 1 }) } },
    )
    expect(statuses(ran)).toEqual([
      'parallel failed',
      'command.exec failed',
      'group passed',
      'wait passed',
      'log passed',
    ])
  })
})

describe('time', () => {
  const hangs: GuestScript = {
    exec: (_line, { signal }) =>
      new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason))),
  }

  it('a hanging step ends at its limit and the teardown runs', async () => {
    const ran = await run(
      scenario(
        '  - { action: command.exec, command: sleep, timeout: 30ms }\n  - { wait: 1s }',
        'teardown: [{ action: log, message: x }]',
      ),
      { guest: hangs },
    )
    expect(statuses(ran)).toEqual(['command.exec failed', 'wait skipped', 'log passed'])
    expect(ran.report.error).toMatchObject({
      code: 'ATP_SCENARIO_STEP_TIMEOUT',
      message: 'step "command.exec sleep" did not finish within 30 ms',
    })
  })

  it("a step's own duration beats the default limit", async () => {
    const ran = await run(scenario('  - { wait: 400ms }'), { services: { timeouts: { stepMs: 10 } } })
    expect(ran.report.passed).toBe(true)
  })

  it('the limit of a group ends the steps inside, whose reports are complete', async () => {
    const ran = await run(
      scenario('  - { action: group, timeout: 30ms, steps: [{ action: command.exec, command: x }, { wait: 1s }] }'),
      { guest: hangs },
    )
    expect(statuses(ran)).toEqual(['group failed', 'command.exec broken', 'wait skipped'])
    expect(step(ran, 2)?.reason).toBe('the run was interrupted')
  })

  it('the limit of the scenario ends steps, not the teardown', async () => {
    const ran = await run(scenario('  - { wait: 10s }\n  - { wait: 1s }', 'timeout: 30ms\nteardown: [{ wait: 60ms }]'))
    expect(statuses(ran)).toEqual(['wait broken', 'wait skipped', 'wait passed'])
    expect(ran.report).toMatchObject({ status: 'broken', error: { code: 'ATP_SCENARIO_TIMEOUT' } })
  })

  it('an abort reports interrupted and still tears down', async () => {
    const controller = new AbortController()
    setTimeout(() => controller.abort(), 30)
    const ran = await run(scenario('  - { wait: 10s }', 'teardown: [{ action: command.exec, command: clean }]'), {
      signal: controller.signal,
    })
    expect(ran.report.status).toBe('interrupted')
    expect(ran.report.error?.code).toBe('ATP_INTERRUPTED')
    expect(ran.calls).toEqual(['any shell clean'])
  })
})

describe('verify: true', () => {
  const typed = scenario('  - { action: keyboard.type, text: hi, verify: true }')

  it('passes when the guest saw everything', async () => {
    const ran = await run(typed)
    expect(step(ran, 0)).toMatchObject({ status: 'passed', verified: true, note: '2 of 2 events seen' })
    expect(ran.report.unverified).toBe(0)
  })

  it('fails as the product when the guest saw something else, whatever the path claims', async () => {
    const ran = await run(typed, {
      guest: { deliver: () => ({ outcome: 'damaged', seen: 1, lost: 1, differences: ['sent KEY_H, saw nothing'] }) },
    })
    expect(ran.report.error).toMatchObject({ code: 'ATP_SCENARIO_INPUT_DAMAGED', verdict: 'product' })
    expect(ran.report.error?.message).toContain('sent KEY_H, saw nothing')
    expect(step(ran, 0)).toMatchObject({ status: 'failed', verified: false })
  })

  it('breaks as infrastructure when nobody observed', async () => {
    const ran = await run(typed, { guest: { deliver: () => ({ outcome: 'unverified', reason: 'no agent' }) } })
    expect(ran.report).toMatchObject({
      status: 'broken',
      unverified: 1,
      error: { code: 'ATP_SCENARIO_UNVERIFIED', verdict: 'infrastructure' },
    })
  })

  it('is asked of the input path; the default only observes and says what it saw', async () => {
    const modes: unknown[] = []
    const deliver: GuestScript['deliver'] = (_action, { verify }) => {
      modes.push(verify)
      return { outcome: 'unverified', reason: 'no agent' }
    }
    const ran = await run(
      scenario(
        '  - { action: keyboard.type, text: a }\n  - { action: mouse.click, verify: off }\n  - { action: keyboard.press, key: a, verify: false }',
        'defaults: { verify: observe }',
      ),
      { guest: { deliver } },
    )
    expect(modes).toEqual(['observe', 'off', 'observe'])
    expect(ran.report).toMatchObject({ passed: true, unverified: 3 })
    expect(step(ran, 0)?.note).toBe('unverified: no agent')
  })

  it('of a command demands exit code 0', async () => {
    const ran = await run(
      scenario('  - { action: command.exec, command: x }\n  - { action: command.exec, command: x, verify: true }'),
      { guest: { exec: () => ({ exitCode: 3 }) } },
    )
    expect(statuses(ran)).toEqual(['command.exec passed', 'command.exec failed'])
    expect(step(ran, 0)?.note).toBe('exit 3')
  })

  it('of a drag is that of one action, whose account says where the pointer is', async () => {
    const pointer = { unit: 'pixel', asked: { x: 5, y: 5 }, reached: { x: 5.01, y: 4.99 }, error: 0.0141 } as const
    const ran = await run(
      scenario('  - { action: mouse.drag, from: { x: 1, y: 1 }, to: { x: 5, y: 5 }, verify: true }'),
      { guest: { deliver: () => ({ pointer, repeats: 2 }) } },
    )
    expect(ran.calls.map((call) => call.split(' ').slice(1).join(' '))).toEqual(['drag 1,1 5,5'])
    expect(step(ran, 0)?.note).toContain('at 5.01, 4.99 (0.01 off), repeated 2 times')
  })
})

describe('verifications and expectations', () => {
  it('command_success judges the last command when one ran', async () => {
    const good = await run(
      scenario('  - { action: command.exec, command: ls }\n  - { type: verify, condition: command_success }'),
    )
    expect(step(good, 1)?.note).toBe('checked: the last command (ls) returned 0')
    const bad = await run(
      scenario('  - { action: command.exec, command: ls }\n  - { type: verify, condition: command_success }'),
      { guest: { exec: () => ({ exitCode: 2, stderrText: 'gone' }) } },
    )
    expect(bad.report.error?.message).toBe('the last command in any (ls) returned 2: gone')
  })

  it('command_success does not pass when the agent is silent or nothing ran', async () => {
    const silent = await run(
      scenario('  - { action: keyboard.press, key: a }\n  - { action: verify.command_success }'),
      {
        guest: {
          ping: async () => {
            throw new Error('no answer')
          },
        },
      },
    )
    expect(statuses(silent)).toEqual(['keyboard.press passed', 'verify.command_success broken'])
    const idle = await run(scenario('  - { action: verify.command_success }'))
    expect(idle.report.error?.code).toBe('ATP_SCENARIO_NOTHING_RAN')
    const failed = await run(
      scenario(
        '  - { action: command.exec, command: x, timeout: 10ms, on_failure: continue }\n  - { action: verify.command_success }',
      ),
      {
        guest: {
          exec: (_line, { signal }) =>
            new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason))),
        },
      },
    )
    expect(statuses(failed)).toEqual(['command.exec failed', 'verify.command_success failed'])
  })

  it('output_contains and input_received look back', async () => {
    const ran = await run(
      scenario(`  - { action: command.exec, command: ls }
  - { action: verify.output_contains, text: 文件 }
  - { action: keyboard.type, text: a }
  - { action: verify.input_received }
  - { action: verify.output_contains, text: other, stream: stdout }`),
      { guest: { exec: () => ({ stdoutText: '中文文件.txt\n' }) } },
    )
    expect(statuses(ran)).toEqual([
      'command.exec passed',
      'verify.output_contains passed',
      'keyboard.type passed',
      'verify.input_received passed',
      'verify.output_contains failed',
    ])
  })

  it('expect.file waits for its content and says what it found instead', async () => {
    const ran = await run(
      scenario(`  - { action: parallel, steps: [{ action: expect.file, path: /n, contains: 你好 }, { action: group, steps: [{ wait: 30ms }, { action: file.write, path: /n, content: "说：你好" }] }] }
  - { action: file.read, path: /n, capture: text }
  - { action: log, message: "\${text}" }
  - { action: expect.file, path: /n, exists: false, timeout: 40ms }`),
    )
    expect(ran.report.error?.message).toBe('/n in any does not hold after 40 ms: it exists')
    expect(step(ran, 6)?.note).toBe('说：你好')
    expect(ran.report.status).toBe('failed')
  })

  it('expect.command repeats until it holds', async () => {
    let runs = 0
    const ran = await run(scenario('  - { action: expect.command, command: x, stdout: { equals: ready } }'), {
      guest: { exec: () => ({ stdoutText: ++runs > 2 ? 'ready\n' : 'busy\n' }) },
    })
    expect(ran.report.passed).toBe(true)
    expect(runs).toBe(3)
  })

  it('expect.vm_status knows the words and numbers of older files', async () => {
    const ran = await run(
      scenario(
        '  - { type: verify, condition: domain_status, expected_status: stopped }\n  - { action: expect.vm_status, status: 0 }\n  - { action: expect.vm_status, status: running, timeout: 30ms }',
      ),
      { guest: { state: 'shutoff' } },
    )
    expect(statuses(ran)).toEqual(['expect.vm_status passed', 'expect.vm_status passed', 'expect.vm_status failed'])
    expect(ran.report.error?.message).toBe('any is running does not hold after 30 ms: it is shutoff')
  })
})

describe('variables', () => {
  it('come from vars, matrix, captures and loops, and keep their type when alone', async () => {
    const ran = await run(
      scenario(
        `  - { action: command.exec, command: 'cat $\${HOME}', capture: out }
  - { action: loop, over: "\${vars.list}", steps: [{ action: log, message: "\${loop.number}/\${loop.item.name}/\${matrix.via}/\${out.exit_code}" }] }
  - { action: mouse.click, x: "\${list[0].x}", y: 2 }
  - { action: log, message: no, when: "matrix.via == 'spice' || !out.stdout" }`,
        'matrix: { via: [qmp] }\nvars: { list: [{ name: 一, x: 7 }, { name: 二 }] }',
      ),
      { matrix: { via: 'qmp' }, guest: { exec: () => ({ stdoutText: 'x' }) } },
    )
    expect(ran.calls[0]).toBe('any shell cat ${HOME}')
    expect(
      [...walkReports(ran.report.steps)].filter((one) => one.action === 'log').map((one) => one.note ?? one.reason),
    ).toEqual(['1/一/qmp/0', '2/二/qmp/0', "when: matrix.via == 'spice' || !out.stdout"])
    expect(ran.report.passed).toBe(true)
  })

  it('choose the way of the input', async () => {
    const ways: unknown[] = []
    const deliver: GuestScript['deliver'] = (_action, { via }) => {
      ways.push(via)
      return {}
    }
    const typed = (channel: string) =>
      scenario('  - { action: keyboard.type, text: a }', `matrix: { via: [x] }\ninput: { channel: ${channel} }`)
    for (const via of ['spice', 'qmp']) await run(typed('"${matrix.via}"'), { matrix: { via }, guest: { deliver } })
    expect(ways).toEqual(['spice', 'qmp'])
    const wrong = await run(typed('"${matrix.via}"'), { matrix: { via: 'vnc' }, guest: { deliver } })
    expect(step(wrong, 0)?.error).toMatchObject({
      code: 'ATP_SCENARIO_VALUE',
      message: 'input.channel is "vnc"; it must be auto, qmp or spice',
    })
    await expect(run(typed('"${matrix.way}"'), { matrix: { via: 'qmp' } })).rejects.toThrow(/matrix\.way/)
  })

  it('that lead nowhere are errors at run time too', async () => {
    const ran = await run(
      scenario('  - { action: command.exec, command: x, capture: c }\n  - { action: log, message: "${c.nothing}" }'),
    )
    expect(ran.report.error?.code).toBe('ATP_SCENARIO_UNDEFINED')
    const env = await run(scenario('  - { action: log, message: "${env.NOT_THERE}" }'), { services: { env: {} } })
    expect(env.report.error?.message).toContain('env has no "NOT_THERE"')
  })

  it('filled in with the wrong type are refused before the step acts', async () => {
    const ran = await run(scenario('  - { action: mouse.click, x: "${vars.x}", y: 2 }', 'vars: { x: left }'))
    expect(ran.report.error).toMatchObject({ code: 'ATP_SCENARIO_VALUE', verdict: 'spec' })
    expect(ran.calls).toEqual([])
  })

  it('secrets reach the keyboard as secrets and no report shows them', async () => {
    const typed: unknown[] = []
    const vm = memoryVm('v')
    vm.keyboard.type = async (text) => {
      typed.push(text)
      throw new Error('cannot type pa55word!')
    }
    const { scenario: read } = await loadScenario({
      text: scenario(
        '  - { action: command.exec, command: "login ${secret.desk} ${env.USER_KEY}" }\n  - { action: keyboard.type, text: "x${secret.desk}" }',
      ),
    })
    const report = await new ScenarioExecutor({
      resolveVm: () => vm,
      secret: (name) => new Secret(name, 'pa55word!'),
      env: { USER_KEY: 'k3y-value' },
    }).execute(read)
    expect(vm.calls).toEqual(['v shell login pa55word! k3y-value'])
    expect(typed[0]).toBeInstanceOf(Secret)
    expect((typed[0] as Secret).reveal()).toBe('xpa55word!')
    expect(JSON.stringify(report)).not.toMatch(/pa55word|k3y-value/)
  })

  it('a matrix without a choice is an error, not a guess', async () => {
    const ran = await run(scenario('  - { wait: 1s }', 'matrix: { a: [1] }'))
    expect(ran.report.error?.code).toBe('ATP_SCENARIO_MATRIX')
  })
})

describe('step kinds', () => {
  it('are added and removed at run time, with handlers for custom steps', async () => {
    const registry = new StepRegistry()
    for (const kind of stepRegistry.kinds) registry.register(kind)
    registry.register(
      defineStep({
        action: 'demo.greet',
        aliases: ['greet'],
        summary: 'Says hello',
        run: async () => ({ note: '你好', output: 1 }),
      }),
    )
    registry.registerHandler('even', (_context, data) => Number(data) % 2 === 0)
    const text = scenario(
      '  - { action: greet }\n  - { action: verify.custom, handler: even, data: 2 }\n  - { action: verify.custom, handler: even, data: 3 }',
    )
    const ran = await run(text, { services: { registry } })
    expect(statuses(ran)).toEqual(['demo.greet passed', 'verify.custom passed', 'verify.custom failed'])
    expect(registry.unregister('demo.greet')).toBe(true)
    expect(registry.find('greet')).toBeUndefined()
    await expect(loadScenario({ text }, { registry })).rejects.toThrow(
      /ATP_SCENARIO_UNKNOWN_ACTION there is no action "greet"/,
    )
  })

  it('custom steps get the VMs that the step names, and a step that names VMs makes them current', async () => {
    const registry = new StepRegistry()
    for (const kind of stepRegistry.kinds) registry.register(kind)
    registry.registerHandler('touch', async ({ vm }) => ({ note: `touched ${vm.name}` }))
    const ran = await run(
      scenario(`  - { action: custom, handler: touch, on: [b, a] }
  - { action: group, on: b, steps: [{ action: keyboard.press, key: x }] }
  - { action: custom, handler: touch }`),
      { services: { registry } },
    )
    expect(step(ran, 0)).toMatchObject({ vms: ['a', 'b'], note: 'a: touched a; b: touched b' })
    expect(ran.calls).toEqual(['b press x'])
    expect(ran.report.error?.code).toBe('ATP_SCENARIO_NO_TARGET')
  })

  it('cannot take a name that is taken', () => {
    expect(() =>
      stepRegistry.register(defineStep({ action: 'x.y', aliases: ['send_text'], summary: '', run: async () => {} })),
    ).toThrow(/belongs to keyboard.type/)
    expect(stepRegistry.find('x.y')).toBeUndefined()
    const registry = new StepRegistry()
    registry.registerHandler('h', () => {})
    try {
      registry.registerHandler('h', () => {})
    } catch (error) {
      expect(isAtpError(error, 'ATP_SCENARIO_DUPLICATE_HANDLER')).toBe(true)
    }
    expect(() => registry.handler('g')).toThrow(/registered: h/)
  })

  it('that use a VM without saying so are told', async () => {
    const registry = new StepRegistry()
    registry.register(defineStep({ action: 'demo.bad', summary: '', run: async ({ vm }) => ({ note: vm.name }) }))
    const ran = await run(scenario('  - { action: demo.bad }'), { services: { registry } })
    expect(ran.report.error?.message).toContain("needs: ['vm']")
  })

  it('serial steps talk over a port that the run closes', async () => {
    const [stream, guest] = memoryPair()
    const closed = new Promise<void>((resolve) => {
      guest.start({
        onData: () => {
          // The answer arrives in two pieces, the first of which is no match yet.
          void guest.write(Buffer.from('PON')).then(() => guest.write(Buffer.from('G\n')))
        },
        onClose: () => resolve(),
      })
    })
    const ran = await run(
      scenario(`  - { action: serial.send, port: atp.channel.0, text: "PING\\n" }
  - { action: serial.expect, port: atp.channel.0, matches: "PON[G]", capture: answer }
  - { action: log, message: "\${answer}" }
  - { action: serial.expect, port: atp.channel.0, contains: more, timeout: 30ms }`),
      { services: { openPort: async () => stream } },
    )
    expect(step(ran, 2)?.note).toBe('PONG')
    expect(ran.report.error).toMatchObject({ code: 'ATP_SCENARIO_SERIAL_SILENT', verdict: 'product' })
    await closed
    const none = await run(scenario('  - { action: serial.send, port: p, text: x }'))
    expect(none.report.error?.code).toBe('ATP_SCENARIO_NO_SERIAL')
  })

  it('a screenshot is attached to its step', async () => {
    const ran = await run(
      scenario(
        '  - { action: screen.screenshot, title: 桌面, capture: shot }\n  - { action: log, message: "${shot.path}" }',
      ),
    )
    const attached = ran.events.find((event) => event.type === 'attachment')
    expect(attached).toMatchObject({ name: 'any 桌面', contentType: 'image/png', step: 's1', path: step(ran, 1)?.note })
  })

  it('scenario.run runs another file on the same VMs with variables of its own', async () => {
    const { mkdtempSync, writeFileSync } = await import('node:fs')
    const { tmpdir } = await import('node:os')
    const dir = mkdtempSync(`${tmpdir()}/atp-run-`)
    writeFileSync(
      `${dir}/m.yaml`,
      'name: m\nsteps:\n  - { action: keyboard.press, on: one, key: a }\n  - { action: scenario.run, file: s.yaml, vars: { who: 你 } }\n',
    )
    writeFileSync(
      `${dir}/s.yaml`,
      'name: s\nvars: { who: nobody }\nsteps:\n  - { action: command.exec, command: "echo ${who}", verify: true }\nteardown:\n  - { action: keyboard.press, key: b }\n',
    )
    const { scenario: read } = await loadScenario(`${dir}/m.yaml`)
    expect(needsOf(read, stepRegistry).vms).toEqual([{ name: 'one' }])
    const vm = memoryVm('one', [], { exec: () => ({ exitCode: 1 }) })
    const report = await new ScenarioExecutor({ resolveVm: () => vm, root: dir }).execute(read)
    expect(vm.calls).toEqual(['one press a', 'one shell echo 你', 'one press b'])
    expect(
      [...walkReports(report.steps)].map(
        ({ action, status, location }) => `${location.file}:${location.line} ${action} ${status}`,
      ),
    ).toEqual([
      'm.yaml:3 keyboard.press passed',
      'm.yaml:4 scenario.run failed',
      's.yaml:4 command.exec failed',
      's.yaml:6 keyboard.press passed',
    ])
  })
})

describe('events', () => {
  it('tell of every step, nested by parent, and run inside the recorder', async () => {
    const inside: string[] = []
    const ran = await run(
      scenario(
        '  - { action: group, label: 登录, steps: [{ action: keyboard.press, key: a }] }\n  - { wait: 1s, when: "false" }',
      ),
      {
        services: {
          inStep: (id, work) => {
            inside.push(id)
            return work()
          },
        },
      },
    )
    expect(inside).toEqual(['s1', 's2'])
    expect(
      ran.events.map((event) => {
        if (event.type === 'step.start') return `> ${event.step} ${event.parent ?? '-'} ${event.title}`
        return event.type === 'step.end' ? `< ${event.step} ${event.status} ${event.note ?? ''}` : event.type
      }),
    ).toEqual([
      '> s1 - 登录',
      '> s2 s1 keyboard.press a',
      '< s2 passed 2 of 2 events seen',
      '< s1 passed ',
      '> s3 - wait 1s',
      '< s3 skipped when: false',
    ])
  })
})
