/** A lab host's daemon dies and is started again, and the same VM object goes on. */
import { readdirSync, readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { DesktopVm } from '../../framework/desktop/index.ts'
import type { StateChange } from '../../framework/hosts/index.ts'
import type { VirtioSerialChannel } from '../../framework/protocols/virtio-serial/index.ts'
import { daemonPid, labHost, startHost, type LabHost } from '../../lab/hosts.ts'
import { labPaths } from '../../lab/index.ts'
import { leaseVm, type LeasedTestVm } from './leased-vm.ts'

const SET_UP_MS = 300_000

describe('a VM whose host’s daemon dies', () => {
  let leased: LeasedTestVm
  let vm: DesktopVm
  let labelled: LabHost
  const changes: StateChange[] = []

  beforeAll(async () => {
    leased = await leaseVm()
    vm = leased.vm
    labelled = labHost(labPaths(), Number(vm.host.id.replace('lab-', '')))
    leased.host.onStateChange((change) => changes.push(change))
  }, SET_UP_MS)
  afterAll(() => leased?.end(), SET_UP_MS)

  const kill = async () => {
    const pid = (await daemonPid(labelled)) as number
    const { closed } = await leased.host.client('control')
    process.kill(pid, 'SIGKILL')
    await closed
  }
  /** Long enough for the daemon to start on a busy machine. */
  const bounds = { timeoutMs: 60_000 }

  it('answers again: monitor, agent, events, typing with verification, channels', async () => {
    const qmp = await vm.qmp()
    const agent = await vm.qga()
    await vm.keyboard.type('before', { verify: 'require' })
    const channel: VirtioSerialChannel = await vm.serial()
    const ended = expect(channel.receive()).rejects.toMatchObject({ code: 'ATP_VIRTIO_SERIAL_LOST', retryable: true })
    const command = vm.guest.shell('sleep 60')
    const lost = expect(command).rejects.toMatchObject({ branch: 'connect', retryable: true })
    // Under way, and not only being sent.
    await vm.guest.ping()

    await kill()
    await Promise.all([ended, lost])
    expect(qmp.reachable).toBe(false)
    const status = qmp.queryStatus(bounds)
    const pinged = agent.ping(bounds)
    await startHost(labelled)

    expect(await status).toMatchObject({ running: true })
    await pinged
    expect(await vm.qmp()).toBe(qmp)
    expect(await vm.qga()).toBe(agent)
    const stopped = qmp.waitForEvent('STOP', bounds)
    await vm.suspend()
    await stopped
    await vm.resume()
    await vm.waitForState('running')
    expect((await vm.guest.shell('echo 你好')).stdoutText).toBe('你好\n')
    expect(await vm.keyboard.type('after', { verify: 'require' })).toMatchObject({ outcome: 'delivered', lost: 0 })
    ;(await vm.serial(undefined, undefined, bounds)).close()
    expect(changes.map(({ to }) => to).filter((to, index, all) => to !== all[index - 1])).toEqual([
      'reconnecting',
      'connected',
    ])
    expect(leased.host.stats()).toMatchObject({ roles: { calls: { pending: 0 }, control: { pending: 0, losses: 1 } } })
  })

  it('waits for a state across the gap', async () => {
    const waiting = vm.waitForState('paused', bounds)
    await kill()
    await startHost(labelled)
    await vm.suspend(bounds)
    await waiting
    await vm.resume(bounds)
    await vm.waitForState('running', bounds)
  })

  it('is lost to its test when it died in between: sessions with the guest are void', async () => {
    const agent = await vm.qga()
    await kill()
    const changed = new Promise((resolve) => leased.host.onStateChange(({ to }) => to === 'connected' && resolve(to)))
    process.kill(qemuPid(vm.uuid), 'SIGKILL')
    await startHost(labelled)
    await changed
    expect(await vm.state(bounds)).toBe('shutoff')
    await expect
      .poll(() => agent.ping().catch((error: { code: string; cause?: { code: string } }) => error.cause?.code), {
        timeout: 10_000,
      })
      .toBe('ATP_VM_SESSION_VOID')
  })
})

/** The process of a VM. */
function qemuPid(uuid: string): number {
  const commandLine = (pid: string) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8')
    } catch {
      return ''
    }
  }
  return Number(readdirSync('/proc').find((entry) => /^\d+$/.test(entry) && commandLine(entry).includes(uuid)))
}
