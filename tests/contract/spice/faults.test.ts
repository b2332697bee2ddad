import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { pollUntil } from '../../../framework/core/index.ts'
import { spiceServer } from '../../../framework/hosts/spice-carriers.ts'
import {
  DisplayPicture,
  SpiceVmConnection,
  type ChannelName,
  type ChannelStateEvent,
  type SpiceChannel,
  type SpiceConnectionOptions,
} from '../../../framework/protocols/spice/index.ts'
import { ConsoleServer } from '../../support/spice-server/console-server.ts'
import { FaultProxy } from '../../support/spice-server/fault-proxy.ts'
import { drawBitmap } from '../../support/spice-server/picture.ts'
import { PictureServer } from '../../support/spice-server/picture-server.ts'
import { samplePicture, toBitmap } from '../../support/spice-server/sample-pictures.ts'
import { differingPixels } from '../../support/spice-server/two-modes.ts'

const WIDTH = 320
const HEIGHT = 200
const BACK_MS = 20_000
const LATE_MS = 150
const TILES = 120
const CHANNELS = ['inputs', 'cursor', 'display'] as const

let server: PictureServer

beforeAll(async () => {
  server = await PictureServer.start({ compression: 'off' })
  await server.card.createPrimary(WIDTH, HEIGHT)
})
afterAll(() => server?.[Symbol.asyncDispose]())

/** A session through a proxy, with its picture. */
async function behindProxy(port = server.port, options: Partial<SpiceConnectionOptions> = {}) {
  const proxy = await FaultProxy.start(port)
  const connection = new SpiceVmConnection('vm', {
    server: spiceServer({ kind: 'tcp', host: '127.0.0.1', port: proxy.port, tlsPort: undefined }),
    ...options,
  })
  onTestFinished(async () => {
    await connection.disconnectAll()
    await proxy[Symbol.asyncDispose]()
  })
  return { proxy, connection }
}

async function openAll(port?: number, options: Partial<SpiceConnectionOptions> = {}) {
  const { proxy, connection } = await behindProxy(port, options)
  return { proxy, ...(await openChannels(connection)) }
}

async function openChannels(connection: SpiceVmConnection) {
  const main = await connection.connectMainChannel()
  const inputs = await connection.openChannel('inputs')
  const cursor = await connection.openChannel('cursor')
  let picture: DisplayPicture | undefined
  const display = await connection.openChannel('display', {
    prepare: (channel) => (picture = new DisplayPicture(channel)),
  })
  if (!picture) throw new Error('the display was open before')
  // QEMU dies of a display that is cut before that.
  await picture.screenshot()
  return { connection, main, inputs, cursor, display, picture }
}

/** Resolves with the events when the channel is open again after having been lost. */
function comesBack(channel: SpiceChannel): Promise<ChannelStateEvent[]> {
  const events: ChannelStateEvent[] = []
  return new Promise((resolve) => {
    const stop = channel.onStateChange((event) => {
      events.push(event)
      if (event.to !== 'open' || !events.some(({ to }) => to === 'lost')) return
      stop()
      resolve(events)
    })
  })
}

let step = 0
/** Draws something else than before. */
async function drawNext(): Promise<void> {
  const kind = (['photo', 'text', 'gradient'] as const)[step++ % 3] as 'photo'
  await drawBitmap(server.card, toBitmap(samplePicture(kind, 160, 100), 'rgb32'), (step * 37) % 160, (step * 23) % 100)
}

/** Waits until the client's picture is the server's. */
async function expectSamePicture(picture: DisplayPicture): Promise<void> {
  await pollUntil('the same picture', { timeoutMs: BACK_MS }, async () => {
    return (await differingPixels(server, await picture.screenshot())) === 0 || undefined
  })
}

const connectionsOf = (channels: readonly SpiceChannel[]) => channels.map(({ statistics }) => statistics.connections)

describe('on a bad network', () => {
  it('bytes may come one by one, from the first on', async () => {
    const { proxy, connection } = await behindProxy()
    for (const channel of ['main', ...CHANNELS] as const) proxy.set(channel, { singleBytes: 10_000 })
    const { display, picture } = await openChannels(connection)
    await drawNext()
    await expectSamePicture(picture)
    expect(connectionsOf([connection.main, display])).toEqual([1, 1])
  })

  it.each(CHANNELS)('a reset of %s brings back that channel alone', async (name) => {
    const { proxy, connection, main, picture } = await openAll()
    const channel = connection.getChannel(name) as SpiceChannel
    const others = connection.channels.filter((each) => each !== channel)
    proxy.opened.length = 0
    const back = comesBack(channel)
    proxy.reset(name)
    const [lost] = await back
    expect(lost).toMatchObject({ to: 'lost', error: { code: 'ATP_SPICE_LOST', branch: 'connect' } })
    expect(proxy.opened).toEqual([name])
    expect(connectionsOf(others)).toEqual(others.map(() => 1))
    await drawNext()
    await expectSamePicture(picture)
    await main.heartbeat(5000)
  })

  it('a reset of main brings back the session, main and inputs first', async () => {
    const { proxy, connection, picture } = await openAll()
    proxy.opened.length = 0
    const back = Promise.all(connection.channels.map(comesBack))
    proxy.reset('main')
    await back
    expect(proxy.opened).toEqual(['main', 'inputs', 'display', 'cursor'])
    await drawNext()
    await expectSamePicture(picture)
  })

  it.each([1, 7, 5000, 40_000])('a display that ends %i bytes into an image comes back alone', async (bytes) => {
    const { proxy, main, inputs, cursor, display, picture } = await openAll()
    proxy.opened.length = 0
    const back = comesBack(display)
    proxy.set('display', { endAfterBytes: bytes })
    await drawNext()
    const [lost] = await back
    expect(lost).toMatchObject({ to: 'lost', error: { code: 'ATP_SPICE_LOST' } })
    expect(proxy.opened).toEqual(['display'])
    expect(connectionsOf([main, inputs, cursor])).toEqual([1, 1, 1])
    await expectSamePicture(picture)
  })

  it('a message with another header ends its channel with a typed error, and it comes back', async () => {
    const { proxy, main, inputs, display, picture } = await openAll()
    const back = comesBack(display)
    proxy.set('display', { garbleBytes: 6 })
    await drawNext()
    const [lost] = await back
    expect(lost).toMatchObject({ to: 'lost', error: { code: 'ATP_SPICE_PROTOCOL' } })
    expect(connectionsOf([main, inputs])).toEqual([1, 1])
    await expectSamePicture(picture)
  })

  it.each([1, 15, 16, 100, 200])(
    'a link that ends after %i bytes is a typed error, and nothing is left',
    async (bytes) => {
      const { proxy, connection } = await behindProxy()
      await connection.connectMainChannel()
      const before = proxy.streams
      proxy.set('inputs', { endAfterBytes: bytes })
      const opening = connection.openChannel('inputs')
      await expect(opening).rejects.toMatchObject({ code: expect.stringMatching(/^ATP_SPICE_(LINK_ENDED|LOST)$/) })
      expect(connection.channels).toEqual([connection.main])
      await pollUntil('its streams to end', { timeoutMs: 5000 }, async () => proxy.streams === before || undefined)
      await connection.openChannel('inputs')
    },
  )

  it('a display that stalls holds up nothing else, and is right when it goes on', async () => {
    const { proxy, connection, main, inputs, picture } = await openAll()
    proxy.set('display', { stalled: true })
    for (let round = 0; round < 5; round++) await drawNext()
    await main.heartbeat(5000)
    await inputs.keyDown(0x1e)
    await inputs.keyUp(0x1e)
    proxy.set('display', {})
    await expectSamePicture(picture)
    expect(connectionsOf(connection.channels)).toEqual([1, 1, 1, 1])
  })

  it('a session that stalls is noticed and comes back', async () => {
    const { proxy, connection, main, picture } = await openAll(undefined, { heartbeatMs: 300 })
    const back = Promise.all(connection.channels.map(comesBack))
    const lost = new Promise((resolve) => main.onStateChange(({ to, error }) => to === 'lost' && resolve(error)))
    const all: ChannelName[] = ['main', ...CHANNELS]
    for (const name of all) proxy.set(name, { stalled: true })
    expect(await lost).toMatchObject({ code: 'ATP_SPICE_SILENT' })
    for (const name of all) proxy.set(name, {})
    await back
    await expectSamePicture(picture)
  })

  it('acknowledgements that come late lose nothing', async () => {
    const { proxy, connection, display, picture } = await openAll()
    proxy.set('display', { delayMs: LATE_MS })
    const before = display.statistics.messagesIn
    const startedMs = performance.now()
    const tile = toBitmap(samplePicture('photo', 16, 16), 'rgb32')
    // Beside each other, so that the server drops none; more than its two windows of 20.
    for (let round = 0; round < TILES; round++) {
      await drawBitmap(server.card, tile, (round % 20) * 16, Math.floor(round / 20) * 16)
    }
    const all = async () => display.statistics.messagesIn - before >= TILES || undefined
    await pollUntil('all draws', { timeoutMs: BACK_MS }, all)
    expect(performance.now() - startedMs).toBeGreaterThan(LATE_MS)
    await expectSamePicture(picture)
    expect(connectionsOf(connection.channels)).toEqual([1, 1, 1, 1])
  })
})

it('keys that were down when the network failed are up afterwards', async () => {
  const keyboard = await ConsoleServer.start()
  onTestFinished(() => keyboard[Symbol.asyncDispose]())
  const { proxy, connection } = await behindProxy(keyboard.port)
  const main = await connection.connectMainChannel()
  const inputs = await connection.openChannel('inputs')
  await inputs.keyDown(0x1e)
  expect(await keyboard.keyboardBytes(1)).toEqual([0x1c])
  const back = comesBack(inputs)
  proxy.reset('inputs')
  await back
  expect(await keyboard.keyboardBytes(2)).toEqual([0xf0, 0x1c])
  await pollUntil('the release', { timeoutMs: 5000 }, async () => inputs.held.size === 0 || undefined)
  expect(main.statistics.connections).toBe(1)
})
