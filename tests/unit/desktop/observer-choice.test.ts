import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { unsupportedError } from '../../../framework/core/index.ts'
import { Observation } from '../../../framework/desktop/observation.ts'
import type { Sessions } from '../../../framework/desktop/sessions.ts'
import { VerifierAgents } from '../../../framework/desktop/verifier-agents.ts'
import { memoryPair } from '../../../framework/transport/index.ts'
import type { ByteStream } from '../../../framework/wire/byte-stream.ts'
import { ScriptedAgent } from '../verify/server/scripted-agent.ts'

const PATH = { via: 'qmp', device: 'ps2' } as const
const open: { destroy(): void }[] = []
let asked: string[]

beforeEach(() => {
  asked = []
})
afterEach(() => {
  for (const each of open.splice(0)) each.destroy()
})

/** What an observation needs of a VM whose guest agent is a Windows one, so that it has no evdev. */
function sessionsOf({ hasPort, agent }: { hasPort: boolean; agent: boolean }): Sessions {
  const target = {
    name: 'vm-001',
    uuid: 'uuid-1',
    async openChannel(name: string): Promise<ByteStream> {
      asked.push(name)
      const [host, guest] = memoryPair()
      if (agent) open.push(answering(ScriptedAgent.onPort(guest).hello()))
      return host
    },
  }
  const sessions = {
    target,
    ports: async () => (hasPort ? [{ name: 'atp.verifier.0' }] : []),
    async qga() {
      asked.push('qga')
      throw unsupportedError('ATP_VERIFY_GUEST', 'this guest has no sh')
    },
  }
  return sessions as unknown as Sessions
}

/** Tells the time as often as it is asked. */
function answering(agent: ScriptedAgent): ScriptedAgent {
  const answer = async () => {
    for (;;) {
      const { nonce } = await agent.nextOf('time')
      agent.send({ v: 1, type: 'time', nonce, guest_ns: String(process.hrtime.bigint()) })
    }
  }
  void answer()
  return agent
}

function observationOf(guest: { hasPort: boolean; agent: boolean }): Observation {
  const sessions = sessionsOf(guest)
  const observation = new Observation(sessions, new VerifierAgents(sessions, undefined))
  open.push({ destroy: () => observation.abandon(new Error('the test is over')) })
  return observation
}

describe('auto', () => {
  it('takes an agent where evdev can never be had, and does not try evdev again', async () => {
    const observation = observationOf({ hasPort: true, agent: true })
    expect(await observation.observe('keyboard', PATH, {})).toMatchObject({ by: 'agent', level: 'kernel' })
    expect(await observation.observe('keyboard', PATH, {})).toMatchObject({ by: 'agent' })
    expect(asked).toEqual(['qga', 'atp.verifier.0'])
  })

  it('says why evdev cannot be had where there is no agent either, and waits for one only once', async () => {
    const observation = observationOf({ hasPort: false, agent: false })
    for (let time = 0; time < 2; time++) {
      await expect(observation.observe('pointer', PATH, {})).rejects.toMatchObject({ code: 'ATP_VERIFY_GUEST' })
    }
    expect(asked).toEqual(['qga'])
  })
})

it('evdev is nothing else, and agent and browser are not evdev', async () => {
  const observation = observationOf({ hasPort: true, agent: true })
  await expect(observation.observe('keyboard', PATH, { observe: 'evdev' })).rejects.toMatchObject({
    code: 'ATP_VERIFY_GUEST',
  })
  expect(asked).toEqual(['qga'])
  expect(await observation.observe('pointer', PATH, { observe: 'agent' })).toMatchObject({ by: 'agent' })
  expect(asked).toEqual(['qga', 'atp.verifier.0'])
  await expect(observation.observe('keyboard', PATH, { observe: 'browser' })).rejects.toMatchObject({
    code: 'ATP_VERIFIER_NO_WAY',
  })
})

it('nobody waits for an agent any more once the VM is given back', async () => {
  const agents = new VerifierAgents(sessionsOf({ hasPort: true, agent: false }), undefined)
  const waiting = agents.verifier()
  waiting.catch(() => {})
  while (asked.length === 0) await new Promise((resolve) => setImmediate(resolve))
  const begunMs = performance.now()
  await agents.close()
  await expect(waiting).rejects.toMatchObject({ code: 'ATP_INTERRUPTED' })
  expect(performance.now() - begunMs).toBeLessThan(5000)
})

it('an agent that does not come is a fault of the infrastructure', async () => {
  const observation = observationOf({ hasPort: true, agent: false })
  await expect(observation.observe('keyboard', PATH, { observe: 'agent', timeoutMs: 50 })).rejects.toMatchObject({
    verdict: 'infrastructure',
  })
})
