import { describe, expect, it } from 'vitest'
import { connectError } from '../../../framework/core/index.ts'
import type { ConnectionEvent, MonitorEvent, ProtocolTarget } from '../../../framework/protocols/protocol.ts'
import { QmpClient, QmpProtocolBuilder } from '../../../framework/protocols/qmp/index.ts'
import { TranscriptRecorder } from '../../../framework/protocols/transcript.ts'

/** A monitor behind a host whose connection the test loses and restores. */
function behindHost() {
  const connection = new Set<(event: ConnectionEvent) => void>()
  const monitor = new Set<(event: MonitorEvent) => void>()
  const subscribed =
    <T>(handlers: Set<T>) =>
    (handler: T) => {
      handlers.add(handler)
      return () => void handlers.delete(handler)
    }
  const target = {
    name: 'vm-001',
    monitorCommand: async () => '{"return":{"status":"running","running":true}}',
    onMonitorEvent: async (handler: (event: MonitorEvent) => void) => {
      const end = subscribed(monitor)(handler)
      return async () => end()
    },
    onConnection: subscribed(connection),
  } as unknown as ProtocolTarget
  return {
    target,
    connection,
    tell: (event: ConnectionEvent) => connection.forEach((handler) => handler(event)),
    raise: (event: string) =>
      monitor.forEach((handler) => handler({ event, timestamp: { seconds: 1, microseconds: 0 }, data: {} })),
  }
}
const lost: ConnectionEvent = { state: 'lost', error: connectError('ATP_LIBVIRT_ENDED', 'gone') }

describe('a QMP session whose host was lost', () => {
  it('works again, with the gap in its transcript and its readers', async () => {
    const { target, tell, raise, connection } = behindHost()
    const transcript = new TranscriptRecorder()
    const client = await QmpClient.overLibvirt(target, { transcript })
    const events = client.events()
    expect([client.reachable, events.gaps]).toEqual([true, 0])
    tell(lost)
    expect([client.reachable, client.closed, events.gaps]).toEqual([false, false, 1])
    tell({ state: 'restored' })
    raise('RESET')
    expect(await events.receive()).toMatchObject({ event: 'RESET' })
    expect(await client.queryStatus()).toMatchObject({ running: true })
    expect(transcript.entries.slice(0, 2).map(({ text }) => text)).toEqual([
      '<the connection to the host was lost: gone>',
      '<the connection to the host was restored>',
    ])
    await client.close()
    expect([client.reachable, connection.size]).toEqual([false, 0])
  })

  it('says of an event that did not come that it may have been missed', async () => {
    const { target, tell } = behindHost()
    const client = await QmpClient.overLibvirt(target)
    const waiting = client.waitForEvent('SHUTDOWN', { timeoutMs: 30 })
    tell(lost)
    tell({ state: 'restored' })
    await expect(waiting).rejects.toMatchObject({
      code: 'ATP_QMP_MISSED',
      retryable: true,
      cause: { code: 'ATP_TIMEOUT' },
    })
    await expect(client.waitForEvent('SHUTDOWN', { timeoutMs: 10 })).rejects.toMatchObject({ code: 'ATP_TIMEOUT' })
    await client.close()
  })

  it('can be connected anew instead of waiting', async () => {
    const { target, tell, connection } = behindHost()
    const protocol = new QmpProtocolBuilder().build()
    await protocol.connect(target)
    tell(lost)
    expect(protocol.isConnected()).toBe(false)
    await protocol.connect(target)
    expect([protocol.isConnected(), connection.size]).toEqual([true, 1])
    await protocol.disconnect()
  })
})
