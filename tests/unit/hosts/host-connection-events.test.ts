import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { HostConnection, type HostConnectionOptions } from '../../../framework/hosts/index.ts'
import { eventsBetween } from '../../../framework/hosts/lifecycle.ts'
import type { DomainState } from '../../../framework/protocols/libvirt/index.ts'
import { PROGRAM, REMOTE } from '../../../framework/protocols/libvirt/protocol-numbers.ts'
import { EVENT, ScriptedHypervisor, STATE, URI } from './scripted-hypervisor.ts'

/** A busy machine takes its time. */
const SOON = { interval: 5, timeout: 10_000 }

let hypervisor: ScriptedHypervisor
let host: HostConnection
beforeEach(() => {
  hypervisor = new ScriptedHypervisor()
  host = create()
})
afterEach(() => host.close())

function create(options: HostConnectionOptions = {}): HostConnection {
  return HostConnection.create({ id: 'h', uri: URI }, { openTransport: hypervisor.openTransport, ...options })
}

const reaches = (state: string) => expect.poll(() => host.state, SOON).toBe(state)
const turns = async (count = 60) => {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve))
}
/** The daemon dies, `inGap` happens, the daemon is back. */
async function restart(inGap = () => {}): Promise<void> {
  hypervisor.kill()
  await reaches('reconnecting')
  inGap()
  hypervisor.start()
  await reaches('connected')
}
/** Lifecycle events as short texts, concluded ones with a star. */
async function listen(vm?: Parameters<HostConnection['onLifecycle']>[0]) {
  const seen: string[] = []
  const end = await host.onLifecycle(vm, ({ domain, event, reconciled }) =>
    seen.push(`${domain.name} ${event}${reconciled ? '*' : ''}`),
  )
  return { seen, end }
}

describe('subscriptions', () => {
  it('share one registration a kind and VM, and give it back with the last handler', async () => {
    const a = hypervisor.addVm('a')
    const seen: number[] = []
    const ends = await Promise.all(
      Array.from({ length: 300 }, (_, index) =>
        host.onMonitorEvent(a, () => void (seen[index] = (seen[index] ?? 0) + 1)),
      ),
    )
    expect(host.stats()).toMatchObject({ registrations: 1, handlers: 300, roles: { control: { eventHandlers: 1 } } })
    hypervisor.monitor(a, 'RESET')
    await turns()
    expect(seen).toEqual(Array.from({ length: 300 }, () => 1))
    for (const end of ends.slice(1)) await end()
    expect(hypervisor.registrations).toHaveLength(1)
    await ends[0]?.()
    await ends[0]?.()
    expect(hypervisor.registrations).toHaveLength(0)
    expect(host.stats()).toMatchObject({ registrations: 0, handlers: 0, roles: { control: { eventHandlers: 0 } } })
  })

  it('of different kinds, VMs and names stay apart', async () => {
    const [a, b] = [hypervisor.addVm('a'), hypervisor.addVm('b')]
    const seen: string[] = []
    await host.onMonitorEvent(a, ({ domain, event }) => seen.push(`a: ${domain.name} ${event}`))
    await host.onMonitorEvent(undefined, ({ domain, event }) => seen.push(`all: ${domain.name} ${event}`))
    await host.onMonitorEvent(a, ({ event }) => seen.push(`named: ${event}`), { event: 'RESET' })
    await host.onReboot(b, ({ domain }) => seen.push(`reboot: ${domain.name}`))
    await host.onAgentLifecycle(b, ({ domain, state }) => seen.push(`agent: ${domain.name} ${state}`))
    expect(hypervisor.registrations).toHaveLength(5)
    hypervisor.monitor(a, 'STOP')
    hypervisor.monitor(b, 'RESET')
    hypervisor.monitor(a, 'RESET')
    hypervisor.reboot(a)
    hypervisor.reboot(b)
    hypervisor.agent(b, 1)
    await turns()
    expect(seen.toSorted()).toEqual(
      [
        'a: a STOP',
        'all: a STOP',
        'all: b RESET',
        'a: a RESET',
        'all: a RESET',
        'named: RESET',
        'reboot: b',
        'agent: b connected',
      ].toSorted(),
    )
  })

  it('outlive the connection: registered again before it counts as connected', async () => {
    const a = hypervisor.addVm('a')
    const seen: string[] = []
    await host.onMonitorEvent(a, ({ event }) => seen.push(event))
    await host.onReboot(a, () => seen.push('reboot'))
    const { seen: lifecycle } = await listen(a)
    const order: string[] = []
    host.onStateChange(
      ({ to }) => to === 'connected' && order.push(`connected with ${hypervisor.registrations.length}`),
    )
    await restart()
    expect(order).toEqual(['connected with 3'])
    hypervisor.monitor(a, 'RESET')
    hypervisor.reboot(a)
    hypervisor.lifecycle(a, EVENT.suspended)
    await turns()
    expect(seen).toEqual(['RESET', 'reboot'])
    expect(lifecycle).toEqual(['a suspended'])
    expect(host.stats()).toMatchObject({ registrations: 3, roles: { control: { eventHandlers: 3 } } })
  })

  it('are made and given up while nobody is connected', async () => {
    const a = hypervisor.addVm('a')
    const { end } = await listen(a)
    hypervisor.kill()
    await reaches('reconnecting')
    await end()
    const seen: string[] = []
    const adding = host.onMonitorEvent(a, ({ event }) => seen.push(event))
    await expect(host.onReboot(a, () => {}, { timeoutMs: 20 })).rejects.toMatchObject({ code: 'ATP_HOST_UNREACHABLE' })
    const abort = new AbortController()
    const given = host.onReboot(a, () => {}, { signal: abort.signal })
    abort.abort()
    await expect(given).rejects.toMatchObject({ code: 'ATP_INTERRUPTED' })
    expect(host.stats()).toMatchObject({ registrations: 1, handlers: 1 })
    hypervisor.start()
    await adding
    expect(hypervisor.registrations).toHaveLength(1)
    hypervisor.monitor(a, 'RESET')
    await turns()
    expect(seen).toEqual(['RESET'])
  })

  it('that lose their connection while they are made are made on the next one', async () => {
    await host.connect()
    let once = true
    hypervisor.answer = (call) => {
      if (call.procedure !== REMOTE.CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY || !once) return false
      once = false
      hypervisor.kill()
      hypervisor.start()
      return true
    }
    const { seen } = await listen()
    hypervisor.lifecycle(hypervisor.addVm('a'), EVENT.started)
    await turns()
    expect(seen).toEqual(['a started'])
    expect(hypervisor.registrations).toHaveLength(1)
  })

  it('the daemon refuses are not kept', async () => {
    await host.connect()
    hypervisor.answer = (call, daemon) => {
      if (call.procedure !== REMOTE.CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY) return false
      daemon.send(call.refuse(1, 'no events here'))
      return true
    }
    await expect(host.onReboot(undefined, () => {})).rejects.toMatchObject({ code: 'ATP_LIBVIRT_REMOTE' })
    await turns()
    expect(host.stats()).toMatchObject({ registrations: 0, handlers: 0 })
    hypervisor.answer = undefined
    await (
      await host.onReboot(undefined, () => {})
    )()
    expect(hypervisor.asked.filter((what) => what.includes('register'))).toEqual(['register', 'deregister'])
  })

  it('that begin while the last handler leaves work', async () => {
    const a = hypervisor.addVm('a')
    const seen: string[] = []
    const end = await host.onMonitorEvent(a, () => {})
    const [, again] = await Promise.all([end(), host.onMonitorEvent(a, ({ event }) => seen.push(event))])
    hypervisor.monitor(a, 'RESET')
    await turns()
    expect(seen).toEqual(['RESET'])
    await again()
    expect(hypervisor.registrations).toHaveLength(0)
    expect(host.stats().registrations).toBe(0)
  })

  it('deliver nothing once they have ended, and to all although one throws', async () => {
    const a = hypervisor.addVm('a')
    const seen: string[] = []
    const handler = () => seen.push('twice')
    const ends = [await host.onReboot(a, handler), await host.onReboot(a, handler)]
    await host.onReboot(a, () => {
      throw new Error('a bad handler')
    })
    await host.onReboot(a, () => seen.push('last'))
    hypervisor.reboot(a)
    await turns()
    await ends[0]?.()
    hypervisor.reboot(a)
    await turns()
    expect(seen).toEqual(['twice', 'twice', 'last', 'twice', 'last'])
    await host.close()
    await ends[1]?.()
  })
})

describe('what happened while the connection was lost', () => {
  it('is told to handlers of lifecycle events, before the host counts as connected', async () => {
    const [stays, stops, pauses, resumes, restarts, vanishes] = [
      hypervisor.addVm('stays'),
      hypervisor.addVm('stops'),
      hypervisor.addVm('pauses'),
      hypervisor.addVm('resumes', STATE.paused),
      hypervisor.addVm('restarts'),
      hypervisor.addVm('vanishes'),
    ]
    const starts = hypervisor.addVm('starts', STATE.shutoff)
    const { seen } = await listen()
    const { seen: own } = await listen(vanishes)
    const { seen: nothing } = await listen(stays)
    let atConnected: string[] = []
    host.onStateChange(({ to }) => to === 'connected' && (atConnected = [...seen]))
    expect(seen).toEqual([])
    await restart(() => {
      hypervisor.change(stops, STATE.shutoff)
      hypervisor.change(pauses, STATE.paused)
      hypervisor.change(resumes, STATE.running)
      hypervisor.change(restarts, STATE.running, 99)
      hypervisor.change(starts, STATE.paused, 100)
      hypervisor.remove(vanishes)
      hypervisor.addVm('appears')
    })
    expect(atConnected.toSorted()).toEqual(
      [
        'stops stopped*',
        'pauses suspended*',
        'resumes resumed*',
        'restarts stopped*',
        'restarts started*',
        'starts started*',
        'starts suspended*',
        'vanishes stopped*',
        'appears started*',
      ].toSorted(),
    )
    expect(seen.indexOf('restarts stopped*')).toBeLessThan(seen.indexOf('restarts started*'))
    expect(own).toEqual(['vanishes stopped*'])
    expect(nothing).toEqual([])
    await restart()
    expect(seen).toHaveLength(9)
  })

  it('is compared with what the last events said', async () => {
    const a = hypervisor.addVm('a')
    const { seen } = await listen(a)
    hypervisor.lifecycle(a, EVENT.suspended)
    await turns()
    await restart(() => hypervisor.change(a, STATE.paused))
    expect(seen).toEqual(['a suspended'])
    hypervisor.lifecycle(a, EVENT.stopped)
    await turns()
    await restart(() => hypervisor.change(a, STATE.shutoff))
    expect(seen).toEqual(['a suspended', 'a stopped'])
  })

  it('yields to an event that comes while it is being found out', async () => {
    const a = hypervisor.addVm('a')
    const { seen } = await listen(a)
    hypervisor.answer = (call, daemon) => {
      if (call.procedure !== REMOTE.CONNECT_LIST_ALL_DOMAINS) return false
      hypervisor.answer = undefined
      hypervisor.lifecycle(a, EVENT.started)
      daemon.send(call.reply((writer) => writer.u32(0).u32(0)))
      return true
    }
    await restart()
    expect(seen).toEqual(['a started'])
  })

  it('is not known of VMs nobody listened to before', async () => {
    await host.connect()
    const a = hypervisor.addVm('a')
    hypervisor.kill()
    await reaches('reconnecting')
    const listening = listen(a)
    hypervisor.change(a, STATE.shutoff)
    hypervisor.start()
    expect((await listening).seen).toEqual([])
  })

  it('asks for the list of VMs once, and for the state of those that run', async () => {
    const vms = Array.from({ length: 20 }, (_, index) => hypervisor.addVm(`vm-${index}`))
    hypervisor.addVm('off', STATE.shutoff)
    for (const vm of vms) await listen(vm)
    hypervisor.asked.length = 0
    await restart()
    const count = (name: string) => hypervisor.asked.filter((what) => what === name).length
    expect([count('register'), count('list'), count('state')]).toEqual([20, 1, 20])
  })
})

describe('events between two states', () => {
  const seen = (state: DomainState, id = 1) => ({ domain: { name: 'a', uuid: 'u', id }, state })
  it.each([
    [undefined, undefined, []],
    [seen('running'), undefined, ['stopped']],
    [undefined, seen('running'), ['started']],
    [undefined, seen('suspended'), ['started', 'pmsuspended']],
    [undefined, seen('blocked'), ['started']],
    [seen('running'), seen('running'), []],
    [seen('running'), seen('crashed'), ['crashed']],
    [seen('running'), seen('shutdown'), ['shutdown']],
    [seen('running'), seen('blocked'), []],
    [seen('suspended'), seen('running'), ['resumed']],
    [seen('paused'), seen('paused', 2), ['stopped', 'started', 'suspended']],
  ])('%j → %j: %j', (before, after, events) => {
    expect(eventsBetween(before, after)).toEqual(events)
  })
})

describe('what protocols need of a VM', () => {
  it('goes over the connection there is, within one time limit', async () => {
    const a = hypervisor.addVm('a')
    const target = await host.target('a')
    expect(target).toMatchObject({ name: 'a', uuid: a.uuid })
    expect(await target.humanMonitorCommand('info status')).toBe('{"return":{}}')
    expect(await target.agentCommand('{}', { timeoutMs: 5000 })).toBe('{"return":{}}')
    await expect(target.xml()).rejects.toMatchObject({ code: 'ATP_LIBVIRT_REMOTE' })
    await expect(target.openChannel('port')).rejects.toMatchObject({ code: 'ATP_LIBVIRT_REMOTE' })
    await expect(host.target('b')).rejects.toMatchObject({ code: 'ATP_LIBVIRT_NO_DOMAIN' })
    hypervisor.kill()
    await reaches('reconnecting')
    hypervisor.answer = (call) => call.program === PROGRAM.QEMU
    const startedMs = performance.now()
    const command = target.monitorCommand('{}', { timeoutMs: 400 })
    const refusal = expect(command).rejects.toMatchObject({ code: 'ATP_LIBVIRT_TIMEOUT' })
    hypervisor.start()
    await refusal
    expect(performance.now() - startedMs).toBeLessThan(800)
  })

  it('takes a VM that is gone while it is looked at for stopped', async () => {
    const a = hypervisor.addVm('a')
    const { seen } = await listen(a)
    hypervisor.answer = (call, daemon) => {
      if (call.procedure !== REMOTE.DOMAIN_GET_STATE) return false
      daemon.send(call.refuse(42))
      return true
    }
    await restart()
    expect(seen).toEqual(['a stopped*'])
  })

  it('tries again when looking at the VMs fails', async () => {
    const a = hypervisor.addVm('a')
    let refusals = 1
    hypervisor.answer = (call, daemon) => {
      if (call.procedure !== REMOTE.CONNECT_LIST_ALL_DOMAINS || refusals-- <= 0) return false
      daemon.send(call.refuse(1, 'not yet'))
      return true
    }
    await expect(host.onLifecycle(a, () => {})).rejects.toMatchObject({ code: 'ATP_LIBVIRT_REMOTE' })
    const { seen } = await listen(a)
    refusals = 2
    await restart(() => hypervisor.change(a, STATE.paused))
    expect(seen).toEqual(['a suspended*'])
  })
})
