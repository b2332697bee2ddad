import { createHash } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it, onTestFailed, onTestFinished } from 'vitest'
import { Secret } from '../../framework/core/index.ts'
import type { DesktopVm } from '../../framework/desktop/index.ts'
import { defaultRegistry } from '../../framework/protocols/index.ts'
import { guestExec } from '../../framework/protocols/qga/index.ts'
import { guestPortPath } from '../../framework/protocols/virtio-serial/index.ts'
import { protocolContract } from '../contract/protocols/protocol-contract.ts'
import { leaseVm, type LeasedTestVm } from './leased-vm.ts'

const CHANNEL = 'atp.channel.0'
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString()
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')
/** Bytes without a pattern a lost chunk could hide in. */
const content = (sizeBytes: number) =>
  Buffer.from(Array.from({ length: sizeBytes }, (_, i) => (i * 31 + (i >> 8)) & 0xff))

let leased: LeasedTestVm
let vm: DesktopVm
beforeAll(async () => {
  leased = await leaseVm()
  vm = leased.vm
})
afterAll(() => leased?.end())

describe('the guest through its agent', () => {
  it('answers who it is', async () => {
    await vm.guest.ping()
    expect((await vm.guest.info()).commands).toContain('guest-exec')
    expect(await vm.guest.osInfo()).toMatchObject({ family: 'linux', kernel: expect.stringMatching(/^\d+\.\d+/) })
    const drift = Number((await (await vm.qga()).getTime()) / 1_000_000n) - Date.now()
    expect(Math.abs(drift)).toBeLessThan(60_000)
  })

  it('runs programs and shell lines, byte for byte', async () => {
    const result = await vm.guest.shell('echo "$1"; printf "\\377中" >&2; cat; exit 4', {
      args: ['a  b'],
      input: '输入',
    })
    expect(result).toMatchObject({ exitCode: 4, signal: undefined, truncated: false, stdoutText: 'a  b\n输入' })
    expect([...result.stderr]).toEqual([0xff, ...Buffer.from('中')])
    expect((await vm.guest.shell('kill -9 $$')).signal).toBe(9)
    expect((await vm.guest.exec('/bin/sh', { args: ['-c', 'echo $X'], env: { X: '值' } })).stdoutText).toBe('值\n')
    await expect(vm.guest.exec('/no/such/program')).rejects.toMatchObject({ code: 'ATP_QGA_EXECUTE' })
    await expect(vm.guest.exec('/bin/sleep', { args: ['30'], timeoutMs: 1500 })).rejects.toMatchObject({
      code: 'ATP_QGA_EXEC_TIMEOUT',
      context: { pid: expect.any(Number) },
    })
  })

  it('says when output is larger than libvirt passes on, and goes on', async () => {
    const write = (sizeBytes: number) => vm.guest.shell(`head -c ${sizeBytes} /dev/zero`)
    expect((await write(3_000_000)).stdout.byteLength).toBe(3_000_000)
    await expect(write(3_500_000)).rejects.toMatchObject({ code: 'ATP_QGA_TOO_LARGE' })
    await vm.guest.ping()
  })

  it('copies files', async () => {
    const file = vm.guest.file('/tmp/文件 1')
    const bytes = content(300_000)
    expect(await file.exists()).toBe(false)
    await file.write(bytes)
    expect(await file.exists()).toBe(true)
    expect(sha256(await file.read())).toBe(sha256(bytes))
    expect((await vm.guest.shell('sha256sum "$1"', { args: ['/tmp/文件 1'] })).stdoutText).toContain(sha256(bytes))
    await expect(vm.guest.file('/tmp/none').text()).rejects.toMatchObject({ code: 'ATP_QGA_FILE' })
  })
})

describe('input', () => {
  it('typed on the host arrives in the guest, verified', async () => {
    const delivery = await vm.keyboard.type('echo Hello > /tmp/typed\n', { verify: 'require' })
    expect(delivery).toMatchObject({ outcome: 'delivered', lost: 0, path: { via: 'qmp', device: 'ps2' } })
    expect(delivery.latency).toMatchObject({ level: 'kernel', boundMs: expect.any(Number) })
    await expect.poll(() => vm.guest.file('/tmp/typed').exists()).toBe(true)
    expect(await vm.guest.file('/tmp/typed').text()).toBe('Hello\n')
  })

  it('moves and clicks', async () => {
    expect(await vm.mouse.click({ x: 100, y: 50, verify: 'require' })).toMatchObject({ outcome: 'delivered' })
  })

  it('keeps secrets out of the evidence', async () => {
    await vm.keyboard.type(new Secret('desk', 'zq7zq7'), { verify: 'require' })
    await vm.keyboard.press('ctrl+c')
    await vm.guest.shell('echo 你好 > /dev/ttyS0')
    const evidence = new Map<string, string | Uint8Array>()
    await vm.collectEvidence((name, _type, piece) => evidence.set(name, piece))
    expect([...evidence.keys()]).toEqual(['screen', 'serial console', 'protocol transcript'])
    expect(evidence.get('serial console')).toContain('你好')
    expect(evidence.get('protocol transcript')).toContain('withheld')
    expect(evidence.get('protocol transcript')).not.toMatch(/data\\":\\"(z|q)\\"/)
  })
})

describe('life cycle', () => {
  it('is seen by events', async () => {
    const stopped = (await vm.qmp()).waitForEvent('STOP')
    const paused = vm.waitForState('paused')
    await vm.suspend()
    await Promise.all([stopped, paused])
    expect(await (await vm.qmp()).queryStatus()).toEqual({ status: 'paused', running: false })
    await vm.resume()
    await vm.waitForState('running')
  })

  it('shows the screen', async () => {
    const { contentType, bytes } = await vm.screenshot()
    expect(contentType).toBe('image/png')
    expect(bytes.byteLength).toBeGreaterThan(500)
  })
})

describe('a channel of one’s own', () => {
  it('carries commands and files', async () => {
    const responder = await vm.responder()
    const ran = await responder.run('echo 你好; echo oops >&2; exit 7')
    expect([ran.exitCode, text(ran.output)]).toEqual([7, '你好\noops\n'])
    const bytes = content(100_000)
    await responder.put('/tmp/目标', bytes)
    expect(sha256(await responder.get('/tmp/目标'))).toBe(sha256(bytes))
    expect((await responder.run(`# ${'x'.repeat(10_000)}\nsha256sum /tmp/目标`)).output.toString()).toContain(
      sha256(bytes),
    )
    await expect(responder.get('/none')).rejects.toMatchObject({ code: 'ATP_VIRTIO_SERIAL_REFUSED' })
    await expect(vm.serial()).rejects.toMatchObject({ code: 'ATP_LIBVIRT_CHANNEL_BUSY' })
    responder.close()
    const left = async () =>
      (await vm.guest.shell('ps | grep -c "[r]esponder"; ls -d /tmp/tmp.* 2>/dev/null')).stdoutText
    await expect.poll(left).toBe('0\n')
  })
})

protocolContract('QGA with a real agent', async () => ({
  target: await leased.host.target(vm.name),
  make: () => defaultRegistry().create('qga'),
  message: Buffer.from('{"execute":"guest-ping"}'),
  isAnswer: (message) => text(message) === '{"return":{}}',
  idleCode: 'ATP_QGA_NOTHING_SENT',
  end: async () => {},
}))

protocolContract('virtio-serial with a real guest', async () => {
  // The port stays open: what is on its way while a guest closes it is dropped by the guest's kernel.
  const echo =
    'exec 3<>"$1"; while :; do if IFS= read -r line <&3; then echo "echo $line" >&3; else sleep 0.05; fi; done'
  const args = ['-c', echo, 'echo', guestPortPath(CHANNEL)]
  const agent = await vm.qga()
  const pid = await agent.exec(guestExec('/bin/sh', { args, captureOutput: false }))
  return {
    target: await leased.host.target(vm.name),
    make: () => defaultRegistry().create(`virtio-serial:${CHANNEL}`),
    message: Buffer.from('你好'),
    isAnswer: (message) => text(message) === 'echo 你好',
    idleCode: 'ATP_TIMEOUT',
    end: async () => void (await vm.guest.shell(`kill ${pid}`)),
  }
})

describe('a VM that lives on', () => {
  it('is left without our programs and without pressed keys', async () => {
    const attached = await leased.open('attached')
    await expect(attached.reset()).rejects.toMatchObject({ code: 'ATP_VM_ATTACHED' })
    // One observer at a time: the other object's has the channel.
    await vm.close()
    expect(await attached.keyboard.press('ctrl+c', { verify: 'require' })).toMatchObject({ outcome: 'delivered' })
    await attached.keyboard.down('shift')
    await attached.close()
    const shared = await leased.open('shared')
    const holders = 'ls -l /proc/[0-9]*/fd 2>/dev/null | grep -c "$(readlink -f /dev/virtio-ports/atp.evdev.0)$"'
    expect((await shared.guest.shell(holders)).stdoutText).toBe('0\n')
    await shared.keyboard.type('echo low > /tmp/low\n', { verify: 'require' })
    await expect.poll(() => shared.guest.file('/tmp/low').exists()).toBe(true)
    await shared.close()
  })
})

describe('a reset', () => {
  it('voids sessions with the guest; the next use waits until it has booted', async () => {
    // A VM of its own: one that never boots again is nobody else's.
    const own = await leaseVm()
    onTestFinished(own.end)
    const shared = await own.open('shared')
    onTestFailed(() =>
      shared.collectEvidence((name, _type, content) => {
        if (name.includes('serial')) console.log(`${name}: ${String(content).slice(-4000)}`)
      }),
    )
    await shared.guest.file('/tmp/before').write('x')
    const before = await shared.qga()
    await shared.keyboard.press('a')
    await shared.reset()
    await expect(before.ping()).rejects.toMatchObject({ code: 'ATP_QGA_CLOSED' })
    expect(await shared.guest.file('/tmp/before').exists()).toBe(false)
    expect(await shared.keyboard.press('a')).toMatchObject({ outcome: 'delivered' })
  })
})
