import { describe, expect, it } from 'vitest'
import type { SettledCall } from '../../../framework/protocols/libvirt/index.ts'
import { operationOf } from '../../../framework/protocols/libvirt/operations.ts'
import { LIBVIRT_ERROR, PROGRAM, QEMU, REMOTE } from '../../../framework/protocols/libvirt/protocol-numbers.ts'
import { ScriptedDaemon, VM } from './scripted-daemon.ts'

async function observed() {
  const settled: SettledCall[] = []
  const { client, daemon } = await ScriptedDaemon.open({ observe: (call) => settled.push(call) })
  const opening = settled.splice(0)
  return { client, daemon, settled, opening }
}

describe('the observer of calls', () => {
  it('is told of opening and closing', async () => {
    const { client, opening, settled } = await observed()
    await client.close()
    expect(opening.map(({ operation, outcome }) => `${operation} ${outcome}`)).toEqual([
      'auth-list ok',
      'connect-supports-feature ok',
      'connect-open ok',
    ])
    expect(settled.map(({ operation, outcome }) => `${operation} ${outcome}`)).toEqual(['connect-close ok'])
  })

  it('is told once of each call, whatever became of it', async () => {
    const { client, daemon, settled } = await observed()
    const answered = client.hostname()
    ;(await daemon.waitForCalls(1)).splice(0).forEach((call) => daemon.send(call.reply((w) => w.string('h'))))
    await answered
    const refused = client.getState(VM).catch(() => {})
    ;(await daemon.waitForCalls(1)).splice(0).forEach((call) => daemon.send(call.refuse(LIBVIRT_ERROR.NO_DOMAIN)))
    await refused
    const abort = new AbortController()
    const cancelled = client.monitorCommand(VM, '{}', { signal: abort.signal }).catch(() => {})
    await daemon.waitForCalls(1)
    abort.abort()
    await cancelled
    const late = client.agentCommand(VM, '{}', { timeoutMs: 1 }).catch(() => {})
    const [, agent] = await daemon.waitForCalls(2)
    await late
    // Its late answer is no second call.
    if (agent) daemon.send(agent.reply((writer) => writer.u32(1).string('{}')))
    const lost = client.listDomains().catch(() => {})
    await daemon.waitForCalls(3)
    daemon.stream.destroy()
    await lost
    expect(settled.map(({ operation, outcome }) => [operation, outcome])).toEqual([
      ['connect-get-hostname', 'ok'],
      ['domain-get-state', 'error'],
      ['monitor-command', 'interrupted'],
      ['agent-command', 'timeout'],
      ['connect-list-all-domains', 'closed'],
    ])
  })

  it('tells the time in the queue apart', async () => {
    const { client, daemon, settled } = await observed()
    const first = client.monitorCommand(VM, '{}')
    const second = client.monitorCommand(VM, '{}')
    const [sent] = await daemon.waitForCalls(1)
    expect(daemon.calls.length).toBe(1)
    await new Promise((resolve) => setTimeout(resolve, 20))
    daemon.onCall = (call) => daemon.send(call.reply((writer) => writer.string('{}')))
    if (sent) daemon.send(sent.reply((writer) => writer.string('{}')))
    await Promise.all([first, second])
    const [one, two] = settled as [SettledCall, SettledCall]
    expect(one.queuedMs).toBeLessThan(10)
    expect(two.queuedMs).toBeGreaterThanOrEqual(15)
    expect(two.durationMs).toBeGreaterThanOrEqual(two.queuedMs)
  })

  it('counts a call that was never sent as waiting all its time', async () => {
    const { client, daemon, settled } = await observed()
    void client.monitorCommand(VM, '{}').catch(() => {})
    await client.monitorCommand(VM, '{}', { timeoutMs: 5 }).catch(() => {})
    expect(settled).toMatchObject([{ operation: 'monitor-command', outcome: 'timeout' }])
    expect(settled[0]?.queuedMs).toBe(settled[0]?.durationMs)
    daemon.stream.destroy()
  })

  it('cannot harm a call by throwing', async () => {
    const { client, daemon } = await ScriptedDaemon.open({
      observe: () => {
        throw new Error('no')
      },
    })
    daemon.onCall = (call) => daemon.send(call.reply((writer) => writer.string('h')))
    expect(await client.hostname()).toBe('h')
  })
})

describe('operations', () => {
  it('have names in words', () => {
    expect(operationOf(PROGRAM.REMOTE, REMOTE.DOMAIN_GET_STATE)).toBe('domain-get-state')
    expect(operationOf(PROGRAM.QEMU, QEMU.DOMAIN_MONITOR_COMMAND)).toBe('monitor-command')
    expect(operationOf(PROGRAM.QEMU, QEMU.DOMAIN_AGENT_COMMAND)).toBe('agent-command')
    expect(operationOf(PROGRAM.REMOTE, 9999)).toBe('procedure-9999')
  })

  it('have a name of their own each', () => {
    const names = [
      ...Object.values(REMOTE).map((procedure) => operationOf(PROGRAM.REMOTE, procedure)),
      ...Object.values(QEMU).map((procedure) => operationOf(PROGRAM.QEMU, procedure)),
    ]
    expect(new Set(names).size).toBe(names.length)
  })
})
