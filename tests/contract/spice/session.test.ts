import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { pollUntil } from '../../../framework/core/index.ts'
import {
  SpiceConnectionManager,
  SpiceVmConnection,
  type SpiceConnectionOptions,
} from '../../../framework/protocols/spice/index.ts'
import { ALL_DEVICES, ConsoleServer } from '../../support/spice-server/console-server.ts'

let server: ConsoleServer

beforeAll(async () => {
  server = await ConsoleServer.start({ ticket: 'right', qemuArguments: ALL_DEVICES })
})
afterAll(() => server?.[Symbol.asyncDispose]())

function session(options: Partial<SpiceConnectionOptions> = {}): SpiceVmConnection {
  const connection = new SpiceVmConnection('vm', { server: server.server({ password: 'right' }), ...options })
  onTestFinished(() => connection.disconnectAll())
  return connection
}

describe('a ticket', () => {
  const connect = (password?: string) =>
    session({ server: server.server(password === undefined ? {} : { password }) }).connectMainChannel()

  it('that is right opens the session', async () => {
    const main = await connect('right')
    expect(main.init?.sessionId).toBeGreaterThan(0)
    expect(main.init?.supportedMouseModes).toContain('server')
  })

  it('that is wrong, absent or expired is an error that says so', async () => {
    await expect(connect('wrong')).rejects.toMatchObject({ code: 'ATP_SPICE_AUTH' })
    await expect(connect()).rejects.toMatchObject({ code: 'ATP_SPICE_AUTH_NEEDED' })
    await server.qmp.execute('expire_password', { protocol: 'spice', time: 'now' })
    try {
      await expect(connect('right')).rejects.toMatchObject({ code: 'ATP_SPICE_AUTH' })
    } finally {
      await server.qmp.execute('expire_password', { protocol: 'spice', time: 'never' })
    }
  })

  it('of more than 60 bytes is refused before it is sent', async () => {
    await expect(connect('x'.repeat(61))).rejects.toMatchObject({ code: 'ATP_SPICE_TICKET' })
  })
})

describe('channels', () => {
  it('of every type are listed and can be opened, each with its first message', async () => {
    const connection = session()
    const { channels } = await connection.connectMainChannel()
    const types = channels.map(({ type }) => type).toSorted()
    expect(types).toEqual(
      ['cursor', 'display', 'inputs', 'playback', 'port', 'record', 'smartcard', 'usbredir', 'webdav'].toSorted(),
    )
    for (const { type, id } of channels) await connection.openChannel(type, { id })
    expect(connection.channels.map(({ state }) => state)).toEqual(Array(10).fill('open'))
    expect(connection.getChannel('port')?.portName).toBe('test.port')
    expect(connection.getChannel('webdav')?.portName).toBe('org.spice-space.webdav.0')
    // usbredir's own hello, which must come before anything of ours.
    const hello = await connection.getChannel('usbredir')?.receive({ timeoutMs: 5000 })
    expect(hello?.body[0]).toBe(0)
    const cursor = await connection.getChannel('cursor')?.receive({ timeoutMs: 5000 })
    expect(cursor?.type).toBe(101)
    const display = await connection.getChannel('display')?.receive({ timeoutMs: 5000 })
    expect(display?.type).toBeGreaterThan(100)
  })

  it('open and close at any time, again and again', async () => {
    const connection = session()
    await connection.connectMainChannel()
    for (let round = 0; round < 5; round++) {
      const cursor = await connection.openChannel('cursor')
      expect(await connection.openChannel('cursor')).toBe(cursor)
      // What came before the end can be read after it.
      expect((await cursor.receive({ timeoutMs: 5000 })).type).toBe(101)
      await connection.closeChannel('cursor')
      expect(cursor.state).toBe('closed')
      expect(connection.getChannel('cursor')).toBeUndefined()
      await expect(cursor.receive()).rejects.toMatchObject({ code: 'ATP_SPICE_CLOSED' })
    }
  })

  it('that the VM does not have are refused with those it has', async () => {
    const connection = session()
    await connection.connectMainChannel()
    const opening = connection.openChannel('display', { id: 7 })
    await expect(opening).rejects.toMatchObject({ code: 'ATP_SPICE_NO_CHANNEL' })
    await expect(opening).rejects.toThrow(/display 0/)
    expect(connection.channels).toHaveLength(1)
  })

  it('count what they moved', async () => {
    const connection = session()
    const main = await connection.connectMainChannel()
    expect(main.statistics).toMatchObject({ connections: 1, linkMs: expect.any(Number) })
    // The test of the network, which every session begins with.
    expect(main.statistics.bytesIn).toBeGreaterThan(250_000)
  })
})

describe('a display', () => {
  it('may be given up at any moment; the server outlives it', async () => {
    const connection = session({ reconnect: false })
    await connection.connectMainChannel()
    for (let round = 0; round < 40; round++) {
      const stop = new AbortController()
      const opening = connection.openChannel('display', { signal: stop.signal })
      setTimeout(() => stop.abort(), round * 0.7)
      await opening.then(
        () => connection.closeChannel('display'),
        (error: unknown) => expect(error).toMatchObject({ code: 'ATP_INTERRUPTED' }),
      )
    }
    await connection.disconnectAll()
    // The last display may still wait for the server's first message.
    await pollUntil('the server', { timeoutMs: 10_000 }, async () => {
      await server.qmp.execute('query-status', {})
      return connection.state === 'closed' || undefined
    })
    expect(server.alive).toBe(true)
    await session().connectMainChannel()
  })
})

describe('a session', () => {
  it('asks the server for signs of life', async () => {
    const connection = session({ heartbeatMs: 50 })
    const main = await connection.connectMainChannel()
    const before = main.statistics.messagesIn
    await pollUntil('answers', { timeoutMs: 5000 }, async () => main.statistics.messagesIn > before + 3 || undefined)
    expect(main.state).toBe('open')
    await main.heartbeat(1000)
  })

  it('ends when another client connects', async () => {
    const connection = session({ reconnect: false })
    const main = await connection.connectMainChannel()
    const lost = new Promise((resolve) => main.onStateChange(({ to, error }) => to === 'lost' && resolve(error)))
    await session().connectMainChannel()
    expect(await lost).toMatchObject({ branch: 'connect' })
  })
})

describe('the manager', () => {
  it('keeps a session for each VM and closes all of them', async () => {
    const manager = new SpiceConnectionManager()
    const other = await ConsoleServer.start()
    onTestFinished(async () => {
      await manager.close()
      await other[Symbol.asyncDispose]()
    })
    const [first, second] = await Promise.all([
      manager.addVm('one', { server: server.server({ password: 'right' }) }),
      manager.addVm('two', { server: other.server() }),
    ])
    expect(manager.vmIds).toEqual(['one', 'two'])
    expect(manager.getVmConnection('one')).toBe(first)
    const again = manager.addVm('one', { server: other.server() })
    await expect(again).rejects.toMatchObject({ code: 'ATP_SPICE_DUPLICATE' })
    const failing = manager.addVm('three', { server: server.server({ password: 'wrong' }) })
    await expect(failing).rejects.toMatchObject({ code: 'ATP_SPICE_AUTH' })
    expect(await manager.removeVm('one')).toBe(true)
    expect(first.state).toBe('closed')
    expect(() => manager.getVmConnection('one')).toThrow(/two/)
    await manager.close()
    expect(second.state).toBe('closed')
    expect(manager.vmIds).toEqual([])
  })
})
