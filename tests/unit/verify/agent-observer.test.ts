import { afterEach, describe, expect, it } from 'vitest'
import type { InputHost } from '../../../framework/input/action.ts'
import { KeyboardDevice, MouseDevice } from '../../../framework/input/index.ts'
import { memoryPair } from '../../../framework/transport/index.ts'
import { agentClock } from '../../../framework/verify/agent-clock.ts'
import { AgentObserver } from '../../../framework/verify/agent-observer.ts'
import { GuestClock } from '../../../framework/verify/clock.ts'
import { VerificationServer, VerifierAgentLink } from '../../../framework/verify/server/index.ts'
import { SimulatedGuest, type SimulatedGuestOptions } from '../input/simulated-guest.ts'
import { simulatedAgent, StreamTransport } from './server/simulated-agent.ts'

const open: { close(): unknown }[] = []
afterEach(async () => {
  for (const each of open.splice(0).toReversed()) await each.close()
})

/** A keyboard and a mouse whose guest is observed by the guest package's agent. */
async function observed(options: SimulatedGuestOptions & { readsClock?: boolean } = {}) {
  const guest = new SimulatedGuest(options)
  const server = new VerificationServer()
  const [host, port] = memoryPair()
  server.attach(host, ['vm-007'])
  const transport = new StreamTransport(port)
  const agent = simulatedAgent(guest, options)
  const served = agent.serve(transport).catch(() => {})
  const link = new VerifierAgentLink('vm-007', server.claim({ vmIds: ['vm-007'], level: 'kernel' }))
  open.push(guest, server, agent, link)
  const { reads_clock: readsClock } = await link.ready()
  const clock = readsClock ? new GuestClock(agentClock(link)) : undefined
  await clock?.estimate()
  const observers = { keyboard: 'keyboard', pointer: 'mouse' } as const
  const inputHost: InputHost = {
    ...guest.host(),
    observe: async (what) => new AgentObserver(link, { device: observers[what], level: 'kernel', clock }),
  }
  const screen = async () => ({ width: 1024, height: 768 })
  return {
    guest,
    transport,
    link,
    served,
    keyboard: new KeyboardDevice(inputHost),
    mouse: new MouseDevice(inputHost, screen),
  }
}

describe('keyboard', () => {
  it('all that was typed was seen, in time', async () => {
    const { keyboard } = await observed()
    const delivery = await keyboard.type('Hello, World', { verify: 'require' })
    expect(delivery).toMatchObject({
      outcome: 'delivered',
      observed: { by: 'agent', level: 'kernel' },
      lost: 0,
      duplicated: 0,
      reordered: 0,
      latency: { level: 'kernel' },
    })
    expect(delivery.seen).toBe(delivery.sent)
    // Shift counts as a press as well.
    expect(delivery.latency?.samples).toBeGreaterThanOrEqual(13)
  })

  it.each([
    ['drop', { lost: 1, duplicated: 0 }],
    ['double', { lost: 0, duplicated: 1 }],
  ] as const)('tells of a key that the guest %ss', async (fault, counts) => {
    const { keyboard } = await observed({ fault: (_, index) => (index === 7 ? fault : 'pass') })
    const delivery = await keyboard.type('abcdefgh')
    expect(delivery).toMatchObject({ outcome: 'damaged', ...counts })
    expect(delivery.differences.join('\n')).toContain(fault === 'drop' ? 'KEY_D' : 'an input that was not sent')
  })

  it('tells of the last key that comes twice', async () => {
    const { keyboard } = await observed({ fault: (_, index) => (index === 4 ? 'double' : 'pass') })
    expect(await keyboard.type('ab')).toMatchObject({ outcome: 'damaged', duplicated: 1 })
  })

  it('sees all, however far the agent is behind', async () => {
    const { keyboard, transport } = await observed({ queue: 64, perPoll: 64 })
    let turn = Promise.resolve()
    transport.tamper = (bytes, send) => {
      turn = turn.then(() => new Promise((resolve) => setTimeout(resolve, 5))).then(() => send(bytes))
    }
    expect(await keyboard.type('the quick brown fox')).toMatchObject({ outcome: 'delivered', reordered: 0 })
  })

  it('accounts without times where the agent has no clock', async () => {
    const { keyboard } = await observed({ readsClock: false })
    const delivery = await keyboard.type('abc')
    expect(delivery).toMatchObject({ outcome: 'delivered', latenciesMs: [] })
    expect(delivery.latency).toBeUndefined()
  })
})

describe('an agent that is lost', () => {
  it('in the middle leaves a gap, never lost keys', async () => {
    const { keyboard, transport, guest } = await observed()
    const typing = keyboard.type('a long text that takes its time to type, longer than the agent lives')
    while (guest.received.length < 20) await new Promise((resolve) => setTimeout(resolve, 1))
    transport.close()
    const delivery = await typing
    expect(delivery).toMatchObject({ outcome: 'unverified', lost: 0 })
    expect(delivery.reason).toContain('the verifier agent is gone')
    await expect(keyboard.press('a', { verify: 'require' })).rejects.toMatchObject({ code: 'ATP_VERIFY_IMPOSSIBLE' })
  })

  it('or does not answer any more is no proof of lost keys', async () => {
    const { keyboard, transport } = await observed()
    transport.tamper = () => {}
    expect(await keyboard.press('a')).toMatchObject({ outcome: 'unverified', lost: 0 })
  }, 15_000)

  it('or has a gap says so', async () => {
    const { keyboard, guest } = await observed({ fault: (_, index) => (index === 2 ? 'drop' : 'pass') })
    const typing = keyboard.type('abc')
    while (guest.received.length < 3) await new Promise((resolve) => setTimeout(resolve, 1))
    guest.gap('the kernel dropped events')
    expect(await typing).toMatchObject({ outcome: 'unverified', reason: 'the kernel dropped events' })
  })
})

describe('mouse', () => {
  it('positions, buttons and the wheel are seen', async () => {
    const { mouse } = await observed({ device: 'virtio' })
    for (const delivery of [
      await mouse.move(100, 200),
      await mouse.click(),
      await mouse.moveBy(5, -3),
      await mouse.scroll(2),
    ])
      expect(delivery).toMatchObject({ outcome: 'delivered', observed: { by: 'agent' } })
  })
})
