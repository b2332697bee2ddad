import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { pollUntil } from '../../../framework/core/index.ts'
import { SpiceVmConnection, type SpiceChannel } from '../../../framework/protocols/spice/index.ts'
import type { ByteStream } from '../../../framework/wire/byte-stream.ts'
import { ConsoleServer } from '../../support/spice-server/console-server.ts'

let server: ConsoleServer

beforeAll(async () => {
  server = await ConsoleServer.start()
})
afterAll(() => server?.[Symbol.asyncDispose]())

/** A session whose streams can be cut; `opened` lists the channels in the order in which streams were opened. */
async function cuttable(options: { heartbeatMs?: number } = {}, console = server) {
  const streams = new Map<string, ByteStream>()
  const opened: string[] = []
  const real = console.server()
  const connection = new SpiceVmConnection('vm', {
    ...options,
    server: {
      ...real,
      open: async (channel, bounds) => {
        opened.push(channel.type)
        const stream = await real.open(channel, bounds)
        streams.set(channel.type, stream)
        return stream
      },
    },
  })
  onTestFinished(() => connection.disconnectAll())
  await connection.connectMainChannel()
  const inputs = await connection.openChannel('inputs')
  const display = await connection.openChannel('display')
  // QEMU dies of a display that is cut before that.
  await display.receive({ timeoutMs: 5000 })
  const cut = (type: string) => streams.get(type)?.destroy(new Error('cut by the test'))
  return { connection, main: connection.main, inputs, display, opened, cut, streams }
}

/** Resolves when the channel is open again after having been lost. */
function comesBack(channel: SpiceChannel): Promise<void> {
  return new Promise((resolve) => {
    const states: string[] = []
    channel.onStateChange(({ to }) => {
      states.push(to)
      if (to === 'open' && states.includes('lost')) resolve()
    })
  })
}

it('a lost channel comes back alone', async () => {
  const { main, inputs, display, opened, cut } = await cuttable()
  opened.length = 0
  const back = comesBack(display)
  cut('display')
  await back
  expect(opened).toEqual(['display'])
  expect([main, inputs].map(({ statistics }) => statistics.connections)).toEqual([1, 1])
  expect((await display.receive({ timeoutMs: 5000 })).type).toBeGreaterThan(100)
})

it('a lost session comes back whole, main and inputs first', async () => {
  const { connection, inputs, display, opened, cut } = await cuttable()
  const before = connection.connectionId
  opened.length = 0
  const back = Promise.all([comesBack(connection.main), comesBack(inputs), comesBack(display)])
  cut('main')
  await back
  expect(opened).toEqual(['main', 'inputs', 'display'])
  expect(connection.connectionId).not.toBe(before)
})

it('keys that were down when the inputs were lost are up afterwards', async () => {
  const { inputs, cut } = await cuttable()
  await inputs.keyDown(0x1e)
  expect(await server.keyboardBytes(1)).toEqual([0x1c])
  const back = comesBack(inputs)
  cut('inputs')
  await back
  await pollUntil('the release', { timeoutMs: 5000 }, async () => inputs.held.size === 0 || undefined)
  const bytes = await server.keyboardBytes(2)
  expect(bytes).toEqual([0xf0, 0x1c])
  await expect(inputs.keyDown(0x30)).resolves.toBeUndefined()
  await inputs.keyUp(0x30)
})

it('a server that falls silent is noticed within two heartbeats, and its return too', async () => {
  const { connection, streams } = await cuttable({ heartbeatMs: 300 })
  const lost = new Promise<{ error?: Error; atMs: number }>((resolve) =>
    connection.main.onStateChange(({ to, error }) => to === 'lost' && resolve({ error, atMs: performance.now() })),
  )
  const back = comesBack(connection.main)
  const startedMs = performance.now()
  // Its bytes do not come through any more, as behind a dead network.
  streams.get('main')?.pause()
  const { error, atMs } = await lost
  expect(error).toMatchObject({ code: 'ATP_SPICE_SILENT' })
  expect(atMs - startedMs).toBeLessThan(2000)
  await back
})

it.each(['server', 'client'] as const)(
  'inputs that fall silent alone come back alone, in mouse mode %s',
  { timeout: 30_000 },
  async (mode) => {
    // With an agent a server has the mode client; a serial port has its guest's end open from the beginning.
    const agent = ['-chardev', 'spicevmc,id=agent,name=vdagent', '-device', 'isa-serial,chardev=agent']
    const own = await ConsoleServer.start({ qemuArguments: mode === 'client' ? agent : [] })
    onTestFinished(() => own[Symbol.asyncDispose]())
    const { connection, main, inputs, streams } = await cuttable({ heartbeatMs: 300 }, own)
    if (mode === 'client') {
      await main.requestMouseMode('client')
      await pollUntil('client mode', { timeoutMs: 5000 }, async () => connection.mouseMode === 'client' || undefined)
    }
    // Longer than it takes to be found silent: whoever answers is not.
    await new Promise((resolve) => setTimeout(resolve, 1500))
    expect(inputs.statistics.connections).toBe(1)
    expect(inputs.statistics.messagesIn).toBeGreaterThan(2)
    const lost = new Promise<Error | undefined>((resolve) =>
      inputs.onStateChange(({ to, error }) => to === 'lost' && resolve(error)),
    )
    const back = comesBack(inputs)
    streams.get('inputs')?.pause()
    expect(await lost).toMatchObject({ code: 'ATP_SPICE_SILENT' })
    await back
    expect(main.statistics.connections).toBe(1)
  },
)

it('a password that is wrong by now ends the attempts', async () => {
  const own = await ConsoleServer.start({ ticket: 'first' })
  onTestFinished(() => own[Symbol.asyncDispose]())
  const connection = new SpiceVmConnection('vm', { server: own.server({ password: 'first' }) })
  onTestFinished(() => connection.disconnectAll())
  const main = await connection.connectMainChannel()
  await own.setTicket('second')
  const failed = new Promise((resolve) => main.onStateChange(({ to, error }) => to === 'failed' && resolve(error)))
  main.lose(new Error('as if'))
  expect(await failed).toMatchObject({ code: 'ATP_SPICE_AUTH' })
})

it('of two clients that both come back, one gives way', async () => {
  const first = (await cuttable()).connection
  const second = new SpiceVmConnection('vm', { server: server.server() })
  onTestFinished(() => second.disconnectAll())
  const gaveWay = (connection: SpiceVmConnection) =>
    new Promise<[SpiceVmConnection, unknown]>((resolve) =>
      connection.main.onStateChange(({ to, error }) => to === 'failed' && resolve([connection, error])),
    )
  const failed = Promise.race([gaveWay(first), gaveWay(second)])
  // The return of the first may end attempts of the second.
  await pollUntil('the second client', { timeoutMs: 10_000 }, () => second.connectMainChannel())
  const [loser, error] = await failed
  expect(error).toMatchObject({ code: 'ATP_SPICE_TAKEN_OVER' })
  expect(new Set(loser.channels.map(({ state }) => state))).toEqual(new Set(['failed']))
  const winner = loser === first ? second : first
  await pollUntil('the other client', { timeoutMs: 10_000 }, async () => winner.state === 'open' || undefined)
})

it('bytes that come one by one make the same messages', async () => {
  const real = server.server()
  const connection = new SpiceVmConnection('vm', {
    reconnect: false,
    server: { ...real, open: async (channel, bounds) => singly(await real.open(channel, bounds)) },
  })
  onTestFinished(() => connection.disconnectAll())
  const main = await connection.connectMainChannel()
  await connection.openChannel('inputs')
  const display = await connection.openChannel('display')
  expect((await display.receive({ timeoutMs: 5000 })).type).toBeGreaterThan(100)
  expect(main.statistics.bytesIn).toBeGreaterThan(250_000)
  await main.heartbeat(5000)
})

/** Delivers every byte on its own. */
function singly(stream: ByteStream): ByteStream {
  return {
    peer: stream.peer,
    start: (sink) =>
      stream.start({
        onData: (chunk) => {
          for (let at = 0; at < chunk.length; at++) sink.onData(chunk.subarray(at, at + 1))
        },
        onClose: (error) => sink.onClose(error),
      }),
    write: (bytes) => stream.write(bytes),
    pause: () => stream.pause(),
    resume: () => stream.resume(),
    destroy: (error) => stream.destroy(error),
  }
}
