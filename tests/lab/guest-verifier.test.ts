/** The real guest verifier in a real guest: over its port, over WebSocket and TCP, killed, and cut off. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { isAtpError } from '../../framework/core/index.ts'
import type { DesktopVm } from '../../framework/desktop/index.ts'
import { derivedToken, derivedTokens, VerificationServer } from '../../framework/verify/index.ts'
import { leaseVm, type LeasedTestVm } from './leased-vm.ts'

const KEY = 'key of this test'
/** Where the guest's user network has the loopback of this machine. */
const HOST = '10.0.2.2'
/** A cold Node in an emulated guest, on a busy machine. */
const START_MS = 60_000
const TEXT = 'The "quick" brown fox'

let server: VerificationServer
let lease: LeasedTestVm
let vm: DesktopVm
beforeAll(async () => {
  server = new VerificationServer({ authenticate: derivedTokens(KEY), silenceMs: 500, answerMs: 1000 })
  lease = await leaseVm('agent', {
    vmIds: () => [],
    claim: (address) => Promise.resolve(server.claim(address)),
    access: () => Promise.resolve(undefined),
    connectionTimeoutMs: START_MS,
  })
  vm = lease.vm
})
afterAll(async () => {
  await lease?.end()
  await server?.close()
})

const account = ({
  outcome,
  sent,
  seen,
  lost,
  duplicated,
  reordered,
  stuck,
  differences,
}: Awaited<ReturnType<DesktopVm['keyboard']['type']>>) => ({
  outcome,
  sent,
  seen,
  lost,
  duplicated,
  reordered,
  stuck,
  differences,
})
const errorOf = async (work: Promise<unknown>) => {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (isAtpError(error)) return error
  throw new Error('no framework error was thrown', { cause: error })
}
/** Starts another one instead of the one that runs, for a test that has not known that one. */
async function restart(transport: 'websocket' | 'tcp'): Promise<void> {
  const { url } = await server.listen({ transport, port: 0 })
  const gone = server.agents().length > 0 ? agentsAre(0) : undefined
  await vm.guest.shell('killall node; while pidof node > /dev/null; do usleep 10000; done')
  await gone
  await vm.close()
  vm = await lease.open(lease.vm.ownership)
  await vm.guest.file('/run/token').write(derivedToken(KEY, vm.uuid))
  const address = url.replace('127.0.0.1', HOST)
  await vm.guest.shell(
    `chmod 600 /run/token; atp-verifier --server ${address} --token-file /run/token --reconnect-interval 100ms > /tmp/${transport}.log 2>&1 &`,
  )
}

describe('the guest verifier that is part of the snapshot', () => {
  it('knows which VM it is in, and verifies keys, motion and commands', async () => {
    const verifier = await vm.verifier()
    expect(verifier.agent).toMatchObject({ vmId: vm.uuid, level: 'kernel', platform: 'linux' })
    const typed = await vm.keyboard.type(TEXT, { observe: 'agent', verify: 'require' })
    expect(typed).toMatchObject({ outcome: 'delivered', observed: { by: 'agent', level: 'kernel' } })
    await vm.mouse.move(100, 50, { observe: 'agent', verify: 'require' })
    await vm.mouse.moveBy(30, -4, { observe: 'agent', verify: 'require' })
    await vm.mouse.click({ x: 10, y: 10, button: 'right', count: 2, observe: 'agent', verify: 'require' })
    const pressed = await verifier.verify(
      { type: 'keyboard', key: 'a' },
      { during: () => vm.keyboard.press('a', { observe: 'evdev', verify: 'require' }) },
    )
    expect(pressed).toMatchObject({ verified: true })
    const command = await verifier.verify({
      type: 'command',
      command: '/bin/hostname',
      expected_exit_code: 0,
      expected_stdout_contains: vm.name,
    })
    expect(command).toMatchObject({ verified: true })
    await vm.keyboard.press('ctrl+c')
  })

  it('gives the same account as the agentless observer, of whole and of damaged input', async () => {
    const both = async () => {
      const agent = await vm.keyboard.type('cat at bat', { observe: 'agent' })
      const evdev = await vm.keyboard.type('cat at bat', { observe: 'evdev' })
      expect([agent.observed?.by, evdev.observed?.by]).toEqual(['agent', 'evdev'])
      expect(account(agent)).toEqual(account(evdev))
      return agent
    }
    const whole = await both()
    expect(whole).toMatchObject({ outcome: 'delivered', sent: 20, seen: 20, lost: 0 })
    // Both state how wrong their clocks may be, and neither sees a key before it was sent.
    expect(whole.latency?.boundMs).toBeGreaterThan(0)
    expect(whole.latency?.minMs).toBeGreaterThan(-(whole.latency?.boundMs ?? 0))
    // The guest's PS/2 driver forgets the key A (scancode 1e).
    await vm.guest.shell('setkeycodes 1e 0')
    try {
      expect(await both()).toMatchObject({ outcome: 'damaged', lost: 6 })
    } finally {
      await vm.guest.shell('setkeycodes 1e 30')
    }
    await vm.keyboard.press('ctrl+c')
  })

  it('is not believed to have seen keys lost when it was killed in the middle', async () => {
    // A second attempt finds it killed.
    await vm.guest.shell('pidof node || { atp-verifier --transport virtio-serial > /tmp/again.log 2>&1 & }')
    await vm.verifier()
    const typing = errorOf(
      vm.keyboard.type('x'.repeat(60), { observe: 'agent', verify: 'require', delayMs: 50, timeoutMs: 20_000 }),
    )
    await vm.guest.shell('killall node')
    expect(await typing).toMatchObject({ code: 'ATP_VERIFY_IMPOSSIBLE', verdict: 'infrastructure' })
    await vm.keyboard.press('ctrl+c')
  })
})

describe('a guest verifier over a network', () => {
  it('of WebSocket sees input, and comes back when the network does; nothing is verified twice', async () => {
    const link = async (up: boolean) => (await vm.qmp()).execute('set_link', { name: 'net0', up })
    await link(true)
    await vm.guest.shell('rm -f /tmp/count /tmp/go')
    await restart('websocket')
    const verifier = await vm.verifier()
    expect(verifier.agent.vmId).toBe(vm.uuid)
    expect(await vm.keyboard.type(TEXT, { observe: 'agent', verify: 'require' })).toMatchObject({ lost: 0 })

    const lost = agentsAre(0)
    const line = { args: ['-c', 'echo begun >> /tmp/count; until [ -e /tmp/go ]; do usleep 10000; done'] }
    const verified = verifier.verify(
      { type: 'command', command: '/bin/sh', ...line, expected_exit_code: 0, timeout_ms: START_MS },
      { during: () => vm.guest.shell('until [ -e /tmp/count ]; do usleep 10000; done').then(() => link(false)) },
    )
    await lost
    const back = agentsAre(1)
    await vm.guest.shell('touch /tmp/go')
    await link(true)
    await back
    expect(await verified).toMatchObject({ verified: true })
    expect(await vm.guest.file('/tmp/count').text()).toBe('begun\n')
    await vm.keyboard.type(TEXT, { observe: 'agent', verify: 'require' })
    await vm.mouse.move(200, 100, { observe: 'agent', verify: 'require' })
  })

  it('of TCP sees input', async () => {
    await restart('tcp')
    expect((await vm.verifier()).agent.vmId).toBe(vm.uuid)
    expect(await vm.keyboard.type(TEXT, { observe: 'agent', verify: 'require' })).toMatchObject({ lost: 0 })
    await vm.mouse.move(300, 200, { observe: 'agent', verify: 'require' })
  })
})

/** Resolves once so many agents are connected to the server. */
function agentsAre(count: number): Promise<void> {
  return new Promise((resolve) => {
    const stop = server.onAgents(() => {
      if (server.agents().length !== count) return
      stop()
      resolve()
    })
  })
}
