/** Verifier agents as a whole run has them: the fixture, the run's own server, and a machine without one. */
import { expect, it } from 'vitest'
import { project, spec } from './project.ts'

/** Node starts slowly in an emulated guest on a busy machine. */
const START_S = 90
const files = {
  'specs/agent.spec.ts': spec(`
test.describe('a machine with an agent', () => {
  test.override('vmOptions', { profile: 'agent' })
  test.override('inputOptions', { observe: 'agent', verify: 'require' })

  test('fixture', async ({ verifier, keyboard }) => {
    const delivery = await keyboard.type('echo hello')
    expect(delivery).toBeDelivered()
    expect(delivery.observed).toEqual({ by: 'agent', level: 'kernel' })
    const event = { type: 'command', command: 'echo', args: ['hi'], expected_stdout_contains: 'hi' }
    expect(await verifier.verify(event)).toBeVerified()
    expect(await verifier.verify({ ...event, expected_exit_code: 7 })).not.toBeVerified()
    const pressed = verifier.verify({ type: 'keyboard', key: 'a' }, { during: () => keyboard.press('a') })
    expect(await pressed).toBeVerified()
  })

  test('network', async ({ vm, guest, keyboard }) => {
    const { vmId, urls, token } = await vm.verifierAccess()
    await guest.shell('killall node; while pidof node > /dev/null; do usleep 10000; done')
    await guest.file('/run/token').write(token.reveal())
    const server = String(urls[0]).replace('127.0.0.1', '10.0.2.2')
    const flags = '--server ' + server + ' --token-file /run/token --vm-id ' + vmId
    await guest.shell('chmod 600 /run/token; atp-verifier ' + flags + ' > /tmp/agent.log 2>&1 &')
    const verifier = await vm.verifier()
    expect(verifier.agent.vmId).toBe(vm.uuid)
    expect(await keyboard.type('hello')).toBeDelivered()
  })
})

test('machine without an agent', async ({ keyboard }) => {
  expect(await keyboard.press('a')).toMatchObject({ observed: { by: 'evdev' } })
  await keyboard.press('b', { observe: 'agent', verify: 'require', timeoutMs: 1500 })
})
`),
  'specs/scenario.spec.yaml': `name: scenario
use: { profile: agent }
verification: { connection_timeout: ${START_S}s }
input: { observe: agent }
steps:
  - { action: keyboard.type, text: echo hello, verify: true }
  - { action: verifier.verify, type: command, command: 'true', expected_exit_code: 0 }
`,
}

it('agents reach a run over their ports and over its own server', async () => {
  const home = project(files, {
    verification: { websocket: { port: 0 }, connectionTimeout: `${START_S}s` },
    timeouts: { test: `${START_S * 2}s` },
  })
  const outcome = await home.run(['test'])
  // The machine without an agent is a fault of the infrastructure.
  expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 3 })
  expect(outcome.stdout + outcome.stderr).toContain('verifier agents connect at ws://127.0.0.1:')
  const test = (name: string) => home.report().reports.find((one) => one.scenario_name.endsWith(name))
  for (const name of ['fixture', 'network', 'scenario']) expect(test(name), name).toMatchObject({ status: 'passed' })
  expect(test('without an agent')).toMatchObject({ status: 'broken', verdict: 'infrastructure' })
})
