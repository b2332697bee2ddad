/** A guest verifier that runs in the VM: `npx atp test guest-verifier`. */
import { expect, test } from '@ocloudview/atp'

test.override('vmOptions', { profile: 'agent' })
test.override('inputOptions', { observe: 'agent', verify: 'require' })

test('the verifier in the guest sees what is typed and clicked', async ({ keyboard, mouse, verifier, vm }) => {
  expect(verifier.agent.vmId).toBe(vm.uuid)
  expect(await keyboard.type('echo hello')).toBeDelivered()
  await mouse.click({ x: 200, y: 100 })
})

test('the verifier in the guest runs a command', async ({ verifier, vm }) => {
  const result = await verifier.verify({
    type: 'command',
    command: '/bin/hostname',
    expected_exit_code: 0,
    expected_stdout_contains: vm.name,
  })
  expect(result).toBeVerified()
})
