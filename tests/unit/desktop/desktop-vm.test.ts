import { beforeEach, describe, expect, it } from 'vitest'
import { Secret } from '../../../framework/core/index.ts'
import { createVm, type DesktopVm } from '../../../framework/desktop/index.ts'
import type { Delivery } from '../../../framework/input/api.ts'
import type { Ownership } from '../../../framework/leases/api.ts'
import { LibvirtFailure, silence } from '../qga/scripted-agent.ts'
import { ScriptedHost } from './scripted-host.ts'

let host: ScriptedHost
let vm: DesktopVm
let deliveries: Delivery[]
beforeEach(async () => {
  host = new ScriptedHost()
  deliveries = []
  vm = await open('pristine')
})

function open(ownership: Ownership): Promise<DesktopVm> {
  const leased = { name: 'vm-001', uuid: '', host: { id: 'lab-1', uri: 'qemu:///session' }, ownership, standby: false }
  return createVm({ leased, host: host.host, onDelivery: (delivery) => deliveries.push(delivery) })
}

describe('DesktopVm life cycle', () => {
  it('says what it is and opens nothing before it is used', () => {
    expect(vm).toMatchObject({ name: 'vm-001', host: { id: 'lab-1' }, ownership: 'pristine', profile: undefined })
    expect(vm.uuid).toMatch(/^6f1c/)
    expect(host.calls).toEqual([])
    expect(host.agent.commands).toEqual([])
  })

  it('waits for a state by events', async () => {
    const waiting = vm.waitForState('paused', { timeoutMs: 1500 })
    await vm.state()
    host.state = 'paused'
    host.emit('suspended')
    await waiting
    await expect(vm.waitForState('running', { timeoutMs: 20 })).rejects.toMatchObject({
      code: 'ATP_VM_STATE_TIMEOUT',
      verdict: 'product',
      context: { seen: 'paused', wanted: 'running' },
    })
    host.state = undefined
    expect(await vm.state()).toBe('shutoff')
  })

  it('never changes what is not ours', async () => {
    const attached = await open('attached')
    await expect(attached.reset()).rejects.toMatchObject({ code: 'ATP_VM_ATTACHED', branch: 'unsupported' })
    await expect(attached.shutdown()).rejects.toMatchObject({ code: 'ATP_VM_ATTACHED' })
    expect(host.calls).toEqual([])
  })

  it('voids sessions with the guest when it starts anew, and opens new ones', async () => {
    const before = await vm.qga()
    const qmp = await vm.qmp()
    const serial = await vm.serial()
    await vm.reset()
    const void_ = expect.objectContaining({ cause: expect.objectContaining({ code: 'ATP_VM_SESSION_VOID' }) })
    await expect(before.ping()).rejects.toEqual(void_)
    await expect(serial.receive()).rejects.toEqual(void_)
    host.agent.fail('guest-ping', new LibvirtFailure(86), new LibvirtFailure(86))
    await vm.guest.ping()
    expect(await vm.qga()).not.toBe(before)
    expect(await vm.qmp()).toBe(qmp)
    host.emit('stopped')
    await expect((await vm.serial()).send(Buffer.from('x'))).resolves.toBeUndefined()
  })

  it('keeps an agent session that is still being opened through a restart', async () => {
    host.agent.fail('guest-ping', new LibvirtFailure(86))
    const opening = vm.qga()
    host.restart()
    await (await opening).ping()
  })

  it('ends everything with close and refuses what comes after', async () => {
    const [qga, qmp] = [await vm.qga(), await vm.qmp()]
    const serial = await vm.serial()
    expect(host.subscriptions).toBe(3)
    await vm.close()
    await vm.close()
    expect(host.subscriptions).toBe(0)
    expect([qga.closed, qmp.closed, serial.closed]).toEqual([true, true, true])
    const closed = { code: 'ATP_VM_CLOSED', branch: 'state' }
    for (const call of [() => vm.guest.ping(), () => vm.qmp(), () => vm.serial(), () => vm.keyboard.press('a')]) {
      await expect(call()).rejects.toMatchObject(closed)
    }
  })

  it('ends while the agent is being waited for', async () => {
    host.agent.answer('guest-ping', silence)
    const waiting = expect(vm.guest.ping()).rejects.toMatchObject({ branch: 'interrupted' })
    await vm.close()
    await waiting
  })
})

describe('DesktopVm sessions', () => {
  it('shares one event registration among all QMP users', async () => {
    const qmp = await vm.qmp()
    const protocol = await vm.protocol('qmp')
    const [one, two] = [qmp.waitForEvent('STOP'), protocol.receive()]
    host.monitorEvent('STOP')
    expect((await one).event).toBe('STOP')
    expect(Buffer.from(await two).toString()).toContain('"STOP"')
    await protocol.disconnect()
    const again = qmp.waitForEvent('RESUME')
    host.monitorEvent('RESUME')
    expect((await again).event).toBe('RESUME')
  })

  it('finds the free channel and says when there is none', async () => {
    await vm.serial()
    expect([...host.channels.keys()]).toEqual(['atp.channel.0'])
    host.ports = ['org.qemu.guest_agent.0', 'atp.evdev.0']
    await expect(vm.serial()).rejects.toMatchObject({ code: 'ATP_VIRTIO_SERIAL_NO_CHANNEL' })
    await expect(vm.channel('nope')).rejects.toMatchObject({ code: 'ATP_VIRTIO_SERIAL_NO_CHANNEL' })
  })

  it('keeps the guest file a live reference', async () => {
    const file = vm.guest.file('/tmp/文件')
    host.agent.answer('guest-exec', () => ({ pid: 1 }))
    host.agent.answer('guest-exec-status', () => ({
      exited: true,
      exitcode: host.agent.files.has('/tmp/文件') ? 0 : 1,
    }))
    expect(await file.exists()).toBe(false)
    await expect(file.text()).rejects.toMatchObject({ code: 'ATP_QGA_FILE' })
    await file.write('内容')
    expect([await file.exists(), await file.text()]).toEqual([true, '内容'])
    expect(await vm.guest.osInfo()).toMatchObject({ id: 'atp', family: 'linux' })
  })
})

describe('DesktopVm input', () => {
  it('reports input nobody can observe as unverified, with the reason', async () => {
    host.agent.answer('guest-exec', () => ({ pid: 1 }))
    host.agent.answer('guest-exec-status', () => ({ exited: true, exitcode: 1 }))
    const delivery = await vm.keyboard.press('a')
    expect(delivery).toMatchObject({ outcome: 'unverified', path: { via: 'qmp', device: 'ps2' }, sent: 2 })
    expect(delivery.reason).toBeTruthy()
    expect(deliveries).toEqual([delivery])
    await expect(vm.keyboard.press('a', { verify: 'require' })).rejects.toMatchObject({ code: 'ATP_VERIFY_IMPOSSIBLE' })
    await expect(vm.keyboard.press('a', { via: 'spice' })).rejects.toMatchObject({ code: 'ATP_SPICE_NO_CONSOLE' })
    await expect(vm.keyboard.press('a', { device: 'usb' })).rejects.toMatchObject({ code: 'ATP_INPUT_DEVICE' })
  })

  it('moves on the screen there is', async () => {
    expect(await vm.mouse.move(3, 1, { verify: 'off' })).toMatchObject({
      path: { device: 'virtio' },
      outcome: 'unverified',
    })
    await expect(vm.mouse.move(4, 1)).rejects.toMatchObject({ code: 'ATP_MOUSE_RANGE' })
  })

  it('lets go of held keys of a VM that lives on, and asks nothing of one that ends', async () => {
    await vm.keyboard.down('shift', { verify: 'off' })
    host.calls.length = 0
    await vm.close()
    expect(host.calls).toEqual([])
    const shared = await open('shared')
    await shared.keyboard.down('shift', { verify: 'off' })
    host.calls.length = 0
    await shared.close()
    expect(host.calls).toEqual(['qmp:input-send-event'])
  })
})

describe('DesktopVm evidence', () => {
  const collect = async () => {
    const pieces = new Map<string, string | Uint8Array>()
    await vm.collectEvidence((name, _type, content) => pieces.set(name, content))
    return pieces
  }

  it('shows screen and conversation, and says what is missing', async () => {
    await vm.keyboard.type('ab', { verify: 'off' })
    const pieces = await collect()
    expect([...pieces.keys()]).toEqual(['screen', 'serial console (missing)', 'protocol transcript'])
    expect(pieces.get('protocol transcript')).toContain('"qcode')
    host.screen = { contentType: 'image/bmp', bytes: Buffer.from('BM') }
    expect([...(await collect()).keys()]).toContain('screen (missing)')
  })

  it('keeps the keystrokes of a secret out of it', async () => {
    await vm.keyboard.type(new Secret('desk', 'zq7'), { verify: 'off' })
    await vm.keyboard.type('k', { verify: 'off' })
    const transcript = String((await collect()).get('protocol transcript'))
    expect(transcript).not.toMatch(/\\"data\\":\\"(z|q|7)\\"/)
    expect(transcript).toMatch(/\\"data\\":\\"k\\"/)
  })
})
