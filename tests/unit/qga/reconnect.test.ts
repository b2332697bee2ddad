import { describe, expect, it } from 'vitest'
import { connectError } from '../../../framework/core/index.ts'
import type { ConnectionEvent, ProtocolTarget } from '../../../framework/protocols/protocol.ts'
import { QgaClient, QgaProtocolBuilder } from '../../../framework/protocols/qga/index.ts'
import { TranscriptRecorder } from '../../../framework/protocols/transcript.ts'
import { LibvirtFailure, ScriptedAgent } from './scripted-agent.ts'

/** An agent behind a host whose connection the test loses and restores. */
function behindHost() {
  const agent = new ScriptedAgent()
  const handlers = new Set<(event: ConnectionEvent) => void>()
  const target = {
    name: agent.name,
    agentCommand: agent.agentCommand.bind(agent),
    onConnection(handler: (event: ConnectionEvent) => void) {
      handlers.add(handler)
      return () => void handlers.delete(handler)
    },
  } as unknown as ProtocolTarget
  const tell = (event: ConnectionEvent) => {
    for (const handler of handlers) handler(event)
  }
  return { agent, target, handlers, tell }
}
const lost: ConnectionEvent = { state: 'lost', error: connectError('ATP_LIBVIRT_ENDED', 'gone') }

describe('an agent session whose host was lost', () => {
  it('waits until the daemon has found the agent again, then sends once', async () => {
    const { agent, target, tell } = behindHost()
    const transcript = new TranscriptRecorder()
    const client = new QgaClient(target, { transcript })
    await client.ping()
    agent.answer('guest-exec', () => ({ pid: 7 }))
    tell(lost)
    expect(client.reachable).toBe(false)
    tell({ state: 'restored' })
    expect(client.reachable).toBe(true)
    agent.fail('guest-ping', new LibvirtFailure(86), new LibvirtFailure(86))
    expect(await client.exec({ path: '/bin/true' })).toBe(7)
    expect(agent.commands.map(({ execute }) => execute)).toEqual([
      'guest-ping',
      'guest-ping',
      'guest-ping',
      'guest-ping',
      'guest-exec',
    ])
    await client.exec({ path: '/bin/true' })
    expect(agent.count('guest-ping')).toBe(4)
    expect(transcript.entries.map(({ text }) => text).filter((text) => text.startsWith('<'))).toEqual([
      '<the connection to the host was lost: gone>',
      '<the connection to the host was restored>',
    ])
  })

  it('sends nothing when the agent does not come back in time', async () => {
    const { agent, target, tell } = behindHost()
    const client = new QgaClient(target)
    tell(lost)
    tell({ state: 'restored' })
    agent.fail('guest-ping', ...Array.from({ length: 50 }, () => new LibvirtFailure(86)))
    await expect(client.exec({ path: '/bin/true' }, { timeoutMs: 120 })).rejects.toMatchObject({
      code: 'ATP_QGA_UNRESPONSIVE',
      retryable: true,
    })
    expect(agent.count('guest-exec')).toBe(0)
    agent.fail('guest-ping', connectError('ATP_HOST_UNREACHABLE', 'still gone'))
    await expect(client.exec({ path: '/bin/true' })).rejects.toMatchObject({ code: 'ATP_HOST_UNREACHABLE' })
  })

  it('is not connected in between, and listens no longer once closed', async () => {
    const { agent, target, tell, handlers } = behindHost()
    const protocol = new QgaProtocolBuilder().build()
    await protocol.connect(target)
    tell(lost)
    expect(protocol.isConnected()).toBe(false)
    tell({ state: 'restored' })
    expect(protocol.isConnected()).toBe(true)
    await protocol.send(Buffer.from('{"execute":"guest-ping"}'))
    expect(Buffer.from(await protocol.receive()).toString()).toBe('{"return":{}}')
    await protocol.disconnect()
    expect(handlers.size).toBe(0)
    agent.fail('guest-sync', new LibvirtFailure(74))
    await expect(protocol.connect(target)).rejects.toMatchObject({ code: 'ATP_QGA_ABSENT' })
    expect(handlers.size).toBe(0)
  })
})
