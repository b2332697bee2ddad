import { describe, expect, it } from 'vitest'
import { loadScenario, needsOf, ScenarioExecutor, stepRegistry } from '../../../framework/scenario/index.ts'
import { memoryVm, type GuestScript } from './memory-vm.ts'

async function run(text: string, script: GuestScript = {}) {
  const calls: string[] = []
  const { scenario } = await loadScenario({ text })
  const report = await new ScenarioExecutor({ resolveVm: () => memoryVm('vm', calls, script) }).execute(scenario)
  return { report, calls, scenario }
}

describe('verifier.verify', () => {
  it('has the agent verify an event, and captures the result', async () => {
    const { report, calls } = await run(`
name: verify
steps:
  - action: verifier.verify
    type: command
    command: /bin/echo
    args: [你好]
    expected_stdout_contains: 你好
    wait: 2s
    capture: result
  - action: log
    message: "\${result.verified} \${result.latency_ms}"
`)
    expect(report.passed).toBe(true)
    expect(JSON.parse(calls[0]?.replace('vm verify ', '') as string)).toEqual({
      type: 'command',
      metadata: { command: '/bin/echo', args: ['你好'], expected_stdout_contains: '你好', timeout_ms: 2000 },
    })
  })

  it('fails when the agent could not verify it', async () => {
    const { report } = await run('name: n\nsteps:\n  - { action: verifier.verify, type: keyboard, key: a }', {
      verify: () => ({ verified: false, details: { error: 'nothing came' } }),
    })
    expect(report.passed).toBe(false)
    expect(JSON.stringify(report)).toContain('nothing came')
  })
})

it('a scenario chooses who observes its input, and a step another', async () => {
  const observers: unknown[] = []
  await run(
    `
name: observe
input: { observe: agent }
steps:
  - { action: keyboard.type, text: a }
  - { action: mouse.click, observe: browser }
`,
    {
      deliver: (_, options) => {
        observers.push(options.observe)
        return {}
      },
    },
  )
  expect(observers).toEqual(['agent', 'browser'])
})

it('the header says which agent is meant', async () => {
  const { scenario } = await loadScenario({
    text: 'name: n\nverification: { vm_id: desk-7, tcp_addr: "127.0.0.1:8766" }\nsteps:\n  - { action: verifier.verify, type: command, command: x }',
  })
  expect(needsOf(scenario, stepRegistry)).toMatchObject({
    vms: [{}],
    verification: { vm_id: 'desk-7', tcp_addr: '127.0.0.1:8766' },
  })
  await expect(
    loadScenario({ text: 'name: n\nverification: { ws_addr: here }\nsteps: [{ action: wait, duration: 1s }]' }),
  ).rejects.toThrow(/write host and port/)
})
