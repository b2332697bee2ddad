import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { LibvirtClient, type Domain, type OpenOptions } from '../../../framework/protocols/libvirt/index.ts'
import { PROGRAM } from '../../../framework/protocols/libvirt/protocol-numbers.ts'
import { memoryPair } from '../../../framework/transport/index.ts'
import { ScriptedDaemon, VM } from './scripted-daemon.ts'

/** VMs by number; those below `hanging` never answer. */
const vm = (number: number): Domain => ({ ...VM, uuid: `0123456${number}-89ab-cdef-0123-456789abcdef` })

/** A client of daemons that all know the same VMs; each stream leads to one of them. */
async function open(hanging: number, options: Partial<OpenOptions> = {}) {
  const daemons: ScriptedDaemon[] = []
  const monitorCalls: number[] = []
  const dial = async () => {
    const [near, far] = memoryPair()
    const daemon = new ScriptedDaemon(far)
    const place = daemons.push(daemon) - 1
    daemon.onCall = (call) => {
      if (call.program !== PROGRAM.QEMU) return daemon.send(call.reply((writer) => writer.i32(1).i32(0)))
      call.body.string()
      const uuid = call.body.opaque(16).toString('hex')
      monitorCalls.push(place)
      if (Number(uuid[7]) < hanging) daemon.calls.push(call)
      else daemon.send(call.reply((writer) => writer.string('{}')))
    }
    return near
  }
  const relief = vi.fn(dial)
  const client = await LibvirtClient.open(await dial(), {
    path: '/session',
    keepaliveIntervalMs: 0,
    relief,
    ...options,
  })
  const ask = (number: number) => client.monitorCommand(vm(number), '{}')
  /** A first call to each VM that hangs. */
  const hang = () => Promise.allSettled(Array.from({ length: hanging }, (_, number) => ask(number)))
  return { client, daemons, monitorCalls, relief, ask, hang }
}

/** The scripted daemons answer in turns of the event loop, which the timers of these tests do not move. */
async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setImmediate(resolve))
}

describe('further connections', () => {
  beforeEach(() => {
    vi.useFakeTimers({
      toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'],
      shouldAdvanceTime: true,
    })
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  it('carry calls past VMs that hang, as many as it takes, and end when they carry nothing', async () => {
    const { client, daemons, monitorCalls, relief, ask, hang } = await open(7)
    const stuck = hang()
    const healthy = ask(8)
    await vi.advanceTimersByTimeAsync(2000)
    expect(await healthy).toBe('{}')
    expect(relief).toHaveBeenCalledTimes(2)
    expect(daemons.every(({ opened }) => opened?.name === 'qemu:///session')).toBe(true)
    expect(monitorCalls).toEqual([0, 0, 0, 1, 1, 1, 2, 2])
    expect(client.stats()).toMatchObject({ connections: 3, inFlight: 7, pending: 7 })
    for (const daemon of daemons)
      for (const call of daemon.calls) daemon.send(call.reply((writer) => writer.string('{}')))
    expect((await stuck).every(({ status }) => status === 'fulfilled')).toBe(true)
    await vi.advanceTimersByTimeAsync(25_000)
    expect(client.stats()).toMatchObject({ connections: 1, inFlight: 0, pending: 0 })
    expect(daemons.map(({ ended }) => ended)).toEqual([false, true, true])
    expect(await ask(8)).toBe('{}')
    await client.close()
  })

  it('are not more than six', async () => {
    const { client, relief, ask, hang } = await open(9, {})
    void hang()
    // Calls to the agent hold slots of their own.
    const agents = Array.from({ length: 9 }, (_, number) =>
      client.agentCommand(vm(number), '{}', { timeoutMs: 600_000 }).catch(() => {}),
    )
    const others = Array.from({ length: 9 }, (_, number) =>
      client.agentCommand({ ...VM, uuid: `0123456${number}-89ab-cdef-0123-000000000000` }, '{}').catch(() => {}),
    )
    await vi.advanceTimersByTimeAsync(20_000)
    expect(relief).toHaveBeenCalledTimes(6)
    expect(client.stats()).toMatchObject({ connections: 7, inFlight: 21 })
    expect(await client.getState(vm(0))).toEqual({ state: 'running', reason: 0 })
    await client.close()
    await Promise.all([...agents, ...others])
    await expect(ask(8)).rejects.toMatchObject({ code: 'ATP_LIBVIRT_CLOSED' })
  })

  it('that cannot be made are tried again while they are needed', async () => {
    const { client, relief, ask, hang } = await open(3)
    relief.mockRejectedValueOnce(new Error('refused')).mockRejectedValueOnce(new Error('refused'))
    void hang()
    const healthy = ask(8)
    await vi.advanceTimersByTimeAsync(3000)
    expect(await healthy).toBe('{}')
    expect(relief).toHaveBeenCalledTimes(3)
    await client.close()
  })

  it('end with the first one, also those being made', async () => {
    const { client, daemons, relief, hang } = await open(8)
    const stuck = hang()
    await vi.advanceTimersByTimeAsync(2000)
    await until(() => client.stats().inFlight === 6)
    // The next one is answered by nobody.
    const [near, far] = memoryPair()
    let farEnded = false
    far.start({ onData: () => {}, onClose: () => (farEnded = true) })
    relief.mockResolvedValueOnce(near)
    await vi.advanceTimersByTimeAsync(2000)
    await until(() => relief.mock.calls.length === 2)
    await client.close()
    for (const outcome of await stuck)
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'ATP_LIBVIRT_CLOSED', retryable: false } })
    await until(() => farEnded && daemons.every(({ ended }) => ended))
    expect(daemons).toHaveLength(2)
  })

  it('that are lost take only what they carried', async () => {
    const { client, daemons, ask, hang } = await open(4)
    const stuck = hang()
    await vi.advanceTimersByTimeAsync(2000)
    expect(await ask(8)).toBe('{}')
    daemons[1]?.stream.destroy()
    await until(() => client.stats().connections === 1)
    const outcomes: unknown[] = []
    void stuck.then((all) => outcomes.push(...all))
    const fourth = ask(3)
    await vi.advanceTimersByTimeAsync(2000)
    await until(() => client.stats().connections === 2 && client.stats().inFlight === 4)
    expect(client.stats().pending).toBe(4)
    expect(await ask(8)).toBe('{}')
    expect(outcomes).toEqual([])
    await client.close()
    expect((await stuck)[3]).toMatchObject({ reason: { code: 'ATP_LIBVIRT_CLOSED', retryable: true } })
    await expect(fourth).rejects.toMatchObject({ code: 'ATP_LIBVIRT_CLOSED' })
  })

  it('carry no VM that is to end with the first one', async () => {
    const { client, daemons, hang } = await open(3)
    void hang()
    await vi.advanceTimersByTimeAsync(100)
    const created = client.createXml('<domain/>', { autodestroy: true }).catch(() => {})
    await vi.advanceTimersByTimeAsync(3000)
    expect(daemons).toHaveLength(1)
    expect(client.stats()).toMatchObject({ connections: 1, queued: 1 })
    await client.close()
    await created
  })
})
