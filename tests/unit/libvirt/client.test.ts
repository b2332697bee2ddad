import { describe, expect, it } from 'vitest'
import { memoryPair } from '../../../framework/transport/index.ts'
import { LibvirtClient } from '../../../framework/protocols/libvirt/index.ts'
import { AUTH, KEEPALIVE, PROGRAM, QEMU, REMOTE } from '../../../framework/protocols/libvirt/protocol-numbers.ts'
import { message, ScriptedDaemon, VM, writeVm } from './scripted-daemon.ts'

const lifecycle = (callbackId: number, event: number) =>
  message(PROGRAM.REMOTE, REMOTE.DOMAIN_EVENT_CALLBACK_LIFECYCLE, (writer) =>
    writeVm(writer.i32(callbackId)).i32(event).i32(0),
  )

describe('calls', () => {
  it('send what the protocol asks for and read the answer', async () => {
    const { client, daemon } = await ScriptedDaemon.open()
    const asked = client.monitorCommand(VM, '{"execute":"测试"}')
    const [call] = await daemon.waitForCalls(1)
    expect(call).toMatchObject({ program: PROGRAM.QEMU, procedure: QEMU.DOMAIN_MONITOR_COMMAND, type: 0, version: 1 })
    expect([call?.body.string(), call?.body.opaque(16).toString('hex'), call?.body.i32()]).toEqual([
      VM.name,
      VM.uuid.replaceAll('-', ''),
      1,
    ])
    expect([call?.body.string(), call?.body.u32()]).toEqual(['{"execute":"测试"}', 0])
    daemon.send(call!.reply((writer) => writer.string('{"return":"好"}')))
    expect(await asked).toBe('{"return":"好"}')
    await client.close()
    expect(await client.closed).toBeUndefined()
  })

  it('give the agent at least a second, never the values that mean for ever or not at all', async () => {
    const { client, daemon } = await ScriptedDaemon.open()
    const seconds: number[] = []
    daemon.onCall = (call) => {
      call.body.string()
      call.body.opaque(16)
      call.body.i32()
      call.body.string()
      seconds.push(call.body.i32())
      daemon.send(call.reply((writer) => writer.optionalString('{}')))
    }
    await client.agentCommand(VM, '{}')
    await client.agentCommand(VM, '{}', { timeoutMs: 1 }).catch(() => {})
    await client.agentCommand(VM, '{}', { timeoutMs: 2500 })
    expect(seconds).toEqual([-1, 1, 3])
    await client.close()
  })

  it.each([
    [42, 'ATP_LIBVIRT_NO_DOMAIN'],
    [86, 'ATP_LIBVIRT_AGENT_UNRESPONSIVE'],
    [45, 'ATP_LIBVIRT_AUTH'],
    [1, 'ATP_LIBVIRT_REMOTE'],
  ])('turn libvirt’s error %i into %s', async (libvirtCode, code) => {
    const { client, daemon } = await ScriptedDaemon.open()
    const asked = client.getState(VM)
    daemon.send((await daemon.waitForCalls(1))[0]!.refuse(libvirtCode, '不行'))
    await expect(asked).rejects.toMatchObject({
      code,
      message: expect.stringContaining('不行'),
      context: { libvirtCode },
    })
    await client.close()
  })

  it('refuse what cannot be sent without a trace', async () => {
    const { client, daemon } = await ScriptedDaemon.open()
    await expect(client.monitorCommand(VM, 'a\0b')).rejects.toMatchObject({ code: 'ATP_WIRE_ENCODE' })
    await expect(client.monitorCommand(VM, 'x'.repeat(5_000_000))).rejects.toMatchObject({ code: 'ATP_WIRE_ENCODE' })
    await expect(client.getState({ ...VM, uuid: 'nonsense' })).rejects.toMatchObject({ code: 'ATP_LIBVIRT_UUID' })
    expect(daemon.calls).toEqual([])
    expect(client.stats()).toMatchObject({ pending: 0, inFlight: 0, queued: 0 })
    await client.close()
  })

  it('time out without giving their slot away before the answer comes', async () => {
    const { client, daemon } = await ScriptedDaemon.open()
    const late = client.monitorCommand(VM, '{}', { timeoutMs: 20 })
    await expect(late).rejects.toMatchObject({ code: 'ATP_LIBVIRT_TIMEOUT', context: { sent: true }, retryable: false })
    const second = client.monitorCommand(VM, '{}', { timeoutMs: 20 })
    await expect(second).rejects.toMatchObject({
      code: 'ATP_LIBVIRT_TIMEOUT',
      context: { sent: false },
      retryable: true,
    })
    expect(client.stats()).toMatchObject({ inFlight: 1, pending: 0, queued: 0 })
    expect(daemon.calls).toHaveLength(1)
    const third = client.monitorCommand(VM, '{}')
    daemon.send(daemon.calls.shift()!.reply((writer) => writer.string('late')))
    daemon.send((await daemon.waitForCalls(1))[0]!.reply((writer) => writer.string('third')))
    expect(await third).toBe('third')
    await client.close()
  })

  it('can be aborted before and after they were sent', async () => {
    const { client, daemon } = await ScriptedDaemon.open()
    await expect(client.hostname({ signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ATP_INTERRUPTED' })
    const controller = new AbortController()
    const asked = client.hostname({ signal: controller.signal })
    const [call] = await daemon.waitForCalls(1)
    controller.abort(new Error('enough'))
    await expect(asked).rejects.toMatchObject({
      code: 'ATP_INTERRUPTED',
      cause: expect.objectContaining({ message: 'enough' }),
    })
    expect(client.stats()).toMatchObject({ pending: 0, inFlight: 1 })
    daemon.send(call!.reply((writer) => writer.string('late')))
    await expect.poll(() => client.stats().inFlight, { timeout: 10_000 }).toBe(0)
    await client.close()
  })

  it('of different VMs and of high priority go around a VM that does not answer', async () => {
    const { client, daemon } = await ScriptedDaemon.open()
    const other = { ...VM, uuid: '11111111-89ab-cdef-0123-456789abcdef' }
    const stuck = Array.from({ length: 20 }, () =>
      client.monitorCommand(VM, '{}', { timeoutMs: 100 }).catch(() => 'late'),
    )
    await daemon.waitForCalls(1)
    daemon.onCall = (call) =>
      daemon.send(call.reply((writer) => (call.program === PROGRAM.QEMU ? writer.string('{}') : writer.i32(1).i32(0))))
    expect(await client.monitorCommand(other, '{}')).toBe('{}')
    expect(await client.getState(VM)).toEqual({ state: 'running', reason: 0 })
    await Promise.all(stuck)
    expect(client.stats()).toMatchObject({ inFlight: 1, queued: 0, pending: 0 })
    await client.close()
  })

  it('all settle when the daemon goes away, sent or not', async () => {
    const { client, daemon } = await ScriptedDaemon.open()
    const asked = Promise.allSettled(Array.from({ length: 10 }, () => client.monitorCommand(VM, '{}')))
    await daemon.waitForCalls(1)
    daemon.stream.destroy()
    for (const result of await asked) {
      expect(result).toMatchObject({ status: 'rejected', reason: { code: 'ATP_LIBVIRT_CLOSED', retryable: true } })
    }
    expect(await client.closed).toMatchObject({ code: 'ATP_LIBVIRT_ENDED' })
    await expect(client.hostname()).rejects.toMatchObject({ code: 'ATP_LIBVIRT_CLOSED' })
    expect(client.stats()).toMatchObject({ pending: 0, streams: 0 })
  })

  it('all settle when this side closes', async () => {
    const { client, daemon } = await ScriptedDaemon.open()
    const asked = client.monitorCommand(VM, '{}')
    const outcome = expect(asked).rejects.toMatchObject({ code: 'ATP_LIBVIRT_CLOSED', retryable: false })
    await daemon.waitForCalls(1)
    await client.close()
    await outcome
    await expect.poll(() => daemon.ended, { timeout: 10_000 }).toBe(true)
  })
})

describe('opening', () => {
  it('names the URI without transport, and read-only as flag', async () => {
    const [near, far] = memoryPair()
    const daemon = new ScriptedDaemon(far)
    const client = await LibvirtClient.open(near, { path: '/system', readOnly: true })
    expect(daemon.opened).toEqual({ name: 'qemu:///system', flags: 1 })
    await client.close()
  })

  it('authenticates by polkit where the daemon asks for it', async () => {
    const [near, far] = memoryPair()
    const daemon = new ScriptedDaemon(far, [AUTH.POLKIT])
    const opening = LibvirtClient.open(near, { path: '/system' })
    const [call] = await daemon.waitForCalls(1)
    expect(call?.procedure).toBe(REMOTE.AUTH_POLKIT)
    daemon.send(call!.reply((writer) => writer.i32(1)))
    await (await opening).close()
  })

  it('has a time limit', async () => {
    const [near, far] = memoryPair()
    far.start({ onData: () => {}, onClose: () => {} })
    await expect(LibvirtClient.open(near, { path: '/session', timeoutMs: 20 })).rejects.toMatchObject({
      code: 'ATP_LIBVIRT_TIMEOUT',
    })
  })
})

describe('events', () => {
  it('that come in the same packet as the registration’s reply are delivered', async () => {
    const { client, daemon } = await ScriptedDaemon.open()
    const seen: string[] = []
    daemon.onCall = (call) =>
      daemon.send(
        call.reply((writer) => writer.i32(7)),
        lifecycle(7, 3),
        lifecycle(7, 4),
      )
    await client.onLifecycle(VM, ({ event, domain }) => seen.push(`${domain.name} ${event}`))
    expect(seen).toEqual(['虚拟机 suspended', '虚拟机 resumed'])
    await client.close()
  })

  it('that overtake the registration’s reply are delivered too', async () => {
    const { client, daemon } = await ScriptedDaemon.open()
    const seen: string[] = []
    daemon.onCall = (call) =>
      daemon.send(
        lifecycle(7, 2),
        lifecycle(8, 2),
        call.reply((writer) => writer.i32(7)),
      )
    await client.onLifecycle(VM, ({ event }) => seen.push(event))
    expect(seen).toEqual(['started'])
    expect(client.stats().stray).toBe(1)
    await client.close()
  })

  it('stop at once when unsubscribed, and the daemon is told', async () => {
    const { client, daemon } = await ScriptedDaemon.open()
    const seen: string[] = []
    const told: number[] = []
    daemon.onCall = (call) => {
      if (call.procedure === REMOTE.CONNECT_DOMAIN_EVENT_CALLBACK_DEREGISTER_ANY) {
        told.push(call.body.i32())
        daemon.send(lifecycle(7, 5), call.reply())
      } else
        daemon.send(
          call.reply((writer) => writer.i32(7)),
          lifecycle(7, 2),
        )
    }
    const unsubscribe = await client.onLifecycle(undefined, ({ event }) => seen.push(event))
    await unsubscribe()
    await unsubscribe()
    expect(seen).toEqual(['started'])
    expect(told).toEqual([7])
    expect(client.stats().eventHandlers).toBe(0)
    await client.close()
  })

  it('survive a handler that throws', async () => {
    const { client, daemon } = await ScriptedDaemon.open()
    let calls = 0
    daemon.onCall = (call) =>
      daemon.send(
        call.reply((writer) => writer.i32(1)),
        lifecycle(1, 2),
        lifecycle(1, 5),
      )
    await client.onLifecycle(undefined, () => {
      calls++
      throw new Error('mine')
    })
    expect(calls).toBe(2)
    expect(client.stats().eventHandlers).toBe(1)
    await client.close()
  })

  it('carry a monitor event’s host time and data', async () => {
    const { client, daemon } = await ScriptedDaemon.open()
    const seen: unknown[] = []
    daemon.onCall = (call) =>
      daemon.send(
        call.reply((writer) => writer.i32(3)),
        message(PROGRAM.QEMU, QEMU.DOMAIN_MONITOR_EVENT, (writer) =>
          writeVm(writer.i32(3)).string('RESET').i64(1_700_000_000n).u32(42).optionalString('{"guest":true}'),
        ),
        message(PROGRAM.QEMU, QEMU.DOMAIN_MONITOR_EVENT, (writer) =>
          writeVm(writer.i32(3)).string('STOP').i64(1n).u32(0).optionalString(undefined),
        ),
      )
    await client.onMonitorEvent(VM, (event) => seen.push(event))
    expect(seen).toEqual([
      { domain: VM, event: 'RESET', timestamp: { seconds: 1_700_000_000, microseconds: 42 }, data: { guest: true } },
      { domain: VM, event: 'STOP', timestamp: { seconds: 1, microseconds: 0 }, data: undefined },
    ])
    await client.close()
  })

  it('are unsubscribed again when the subscriber gave up before the daemon answered', async () => {
    const { client, daemon } = await ScriptedDaemon.open()
    const subscribing = client.onLifecycle(VM, () => {}, { timeoutMs: 20 })
    const [call] = await daemon.waitForCalls(1)
    await expect(subscribing).rejects.toMatchObject({ code: 'ATP_LIBVIRT_TIMEOUT' })
    daemon.calls.length = 0
    daemon.send(call!.reply((writer) => writer.i32(9)))
    const [second] = await daemon.waitForCalls(1)
    expect(second?.procedure).toBe(REMOTE.CONNECT_DOMAIN_EVENT_CALLBACK_DEREGISTER_ANY)
    expect(second?.body.i32()).toBe(9)
    expect(client.stats().eventHandlers).toBe(0)
    await client.close()
  })
})

describe('keepalive', () => {
  it('answers the daemon', async () => {
    const { client, daemon } = await ScriptedDaemon.open()
    daemon.send(message(PROGRAM.KEEPALIVE, KEEPALIVE.PING))
    await expect.poll(() => daemon.pongs, { timeout: 10_000 }).toBe(1)
    await client.close()
  })

  it('keeps a silent but living connection', async () => {
    const { client, daemon } = await ScriptedDaemon.open({ keepaliveIntervalMs: 10, keepaliveCount: 2 })
    await expect.poll(() => daemon.pings, { timeout: 10_000 }).toBeGreaterThan(5)
    expect(client.stats().pending).toBe(0)
    await client.close()
  })

  it('gives a dead one up within its bound', async () => {
    const { client, daemon } = await ScriptedDaemon.open({ keepaliveIntervalMs: 20, keepaliveCount: 3 })
    daemon.answersPings = false
    const asked = client.hostname()
    const started = performance.now()
    await expect(asked).rejects.toMatchObject({ code: 'ATP_LIBVIRT_CLOSED', cause: { code: 'ATP_LIBVIRT_SILENT' } })
    expect(performance.now() - started).toBeLessThan(2000)
    expect(daemon.pings).toBe(3)
  })
})
