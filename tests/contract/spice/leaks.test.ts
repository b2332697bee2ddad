import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { pollUntil } from '../../../framework/core/index.ts'
import { DisplayPicture, SpiceConnectionManager } from '../../../framework/protocols/spice/index.ts'
import { ConsoleServer } from '../../support/spice-server/console-server.ts'

const ROUNDS = 30

let server: ConsoleServer

beforeAll(async () => {
  server = await ConsoleServer.start()
})
afterAll(() => server?.[Symbol.asyncDispose]())

/** Sockets and timers of this process, which keep it alive. */
function resources(): Record<string, number> {
  const counts: Record<string, number> = { TCPSocketWrap: 0, Timeout: 0 }
  for (const name of process.getActiveResourcesInfo()) if (name in counts) counts[name] = (counts[name] as number) + 1
  return counts
}

function collectGarbage(): void {
  setFlagsFromString('--expose-gc')
  ;(runInNewContext('gc') as () => void)()
}

it('sessions that come and go leave no socket, no timer and no memory', async () => {
  const manager = new SpiceConnectionManager()
  const gone: WeakRef<object>[] = []

  async function round(): Promise<void> {
    const connection = await manager.addVm('vm', { server: server.server() })
    gone.push(new WeakRef(connection), new WeakRef(connection.main))
    await connection.openChannel('inputs')
    await connection.openChannel('display', {
      prepare: (channel) => {
        gone.push(new WeakRef(channel), new WeakRef(new DisplayPicture(channel)))
      },
    })
    expect(resources()['TCPSocketWrap']).toBeGreaterThanOrEqual((before['TCPSocketWrap'] as number) + 3)
    await manager.removeVm('vm')
  }

  const before = resources()
  for (let count = 0; count < ROUNDS; count++) await round()
  await manager.close()
  await pollUntil('sockets and timers to end', { timeoutMs: 10_000 }, async () => {
    const { TCPSocketWrap, Timeout } = resources()
    // The wait itself is a timer or two.
    return (
      ((TCPSocketWrap as number) <= (before['TCPSocketWrap'] as number) &&
        (Timeout as number) <= (before['Timeout'] as number) + 2) ||
      undefined
    )
  })
  await pollUntil('memory to be free', { timeoutMs: 20_000 }, async () => {
    collectGarbage()
    return gone.every((one) => one.deref() === undefined) || undefined
  })
  expect(gone).toHaveLength(4 * ROUNDS)
})
