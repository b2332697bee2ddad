import { expect, it } from 'vitest'
import { runAgent } from '../../../guest/agent/run.ts'
import { parseEndpoint } from '../../../guest/agent/transports/endpoint.ts'
import { Agent } from '../../../guest/core/index.ts'

it('a server that is not there is tried again after twice the time', async () => {
  const ending = new AbortController()
  const attempts: number[] = []
  const agent = new Agent({
    identity: { vm_id: 'vm', session: 's', agent: { version: '1', platform: 'linux' }, level: 'kernel' },
    verifiers: [],
    sources: [],
    newId: () => 'id',
    log: () => {
      attempts.push(performance.now())
      if (attempts.length === 5) ending.abort()
    },
  })
  const endpoint = parseEndpoint('tcp://127.0.0.1:1')
  await runAgent(agent, { endpoint, autoReconnect: true, reconnectIntervalMs: 20, signal: ending.signal })
  const pauses = attempts.slice(1).map((at, index) => at - (attempts[index] as number))
  // Jitter takes off a fifth; a busy machine only adds. A timer may fire a millisecond early.
  for (const [index, pause] of pauses.entries()) expect(pause).toBeGreaterThanOrEqual(20 * 2 ** index * 0.8 - 1)
  expect(pauses).toHaveLength(4)
})
