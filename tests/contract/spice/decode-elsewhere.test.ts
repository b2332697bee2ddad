import { readFile } from 'node:fs/promises'
import { expect, it, onTestFinished } from 'vitest'
import { pollUntil } from '../../../framework/core/index.ts'
import { ImageWorkers } from '../../../framework/desktop/image-workers.ts'
import { spiceServer } from '../../../framework/hosts/spice-carriers.ts'
import { DisplayState } from '../../../framework/protocols/spice/display/display-state.ts'
import { DisplayPicture, SpiceVmConnection, type ImageDecoder } from '../../../framework/protocols/spice/index.ts'
import { DISPLAY_CAP } from '../../../framework/protocols/spice/wire/numbers.ts'
import { FaultProxy } from '../../support/spice-server/fault-proxy.ts'
import { drawBitmap, drawImage, putBitmap } from '../../support/spice-server/picture.ts'
import { PictureServer, type PictureServerOptions } from '../../support/spice-server/picture-server.ts'
import { samplePicture, toBitmap } from '../../support/spice-server/sample-pictures.ts'
import { differingPixels, expectEqualThroughTwoModes, type ShownScreen } from '../../support/spice-server/two-modes.ts'

const QUIC = new URL('../../unit/spice/recorded/quic/desktop-rgb32-320x200.quic', import.meta.url)
const SCREEN = { x: 0, y: 0, width: 1024, height: 768 }

function workers() {
  const pool = new ImageWorkers()
  const { decode, release } = pool.share()
  onTestFinished(release)
  let jobs = 0
  const counted: ImageDecoder = (job) => {
    jobs++
    return decode(job)
  }
  return { pool, decode: counted, release, jobs: () => jobs }
}

async function openPicture(options: PictureServerOptions, decode: ImageDecoder | undefined, isSlow = false) {
  const server = await PictureServer.start(options)
  onTestFinished(() => server[Symbol.asyncDispose]())
  let { port } = server
  if (isSlow) {
    const proxy = await FaultProxy.start(server.port)
    onTestFinished(() => proxy[Symbol.asyncDispose]())
    // Of the quarter of a megabyte with which a server measures the network.
    proxy.set('main', { singleBytes: 100_000 })
    port = proxy.port
  }
  const connection = new SpiceVmConnection('vm', {
    server: spiceServer({ kind: 'tcp', host: '127.0.0.1', port, tlsPort: undefined }),
  })
  onTestFinished(() => connection.disconnectAll())
  await connection.connectMainChannel({ timeoutMs: 60_000 })
  let picture: DisplayPicture | undefined
  await connection.openChannel('display', { prepare: (channel) => (picture = new DisplayPicture(channel, { decode })) })
  return { server, picture: picture as DisplayPicture }
}

function shownBy(picture: DisplayPicture): ShownScreen {
  return {
    async is(there) {
      await pollUntil(`a screen ${there ? 'to come' : 'to go'}`, { timeoutMs: 10_000 }, async () => {
        if (!there) return picture.size ? undefined : true
        return picture.size && (await picture.screenshot({ timeoutMs: 10_000 })) && true
      })
    },
    async shown(draw) {
      const changed = picture.changed()
      await draw()
      await changed
    },
    screenshot: () => picture.screenshot(),
  }
}

it('QUIC in threads, through two modes: no pixel differs', { timeout: 180_000 }, async () => {
  const { decode, jobs } = workers()
  const { server, picture } = await openPicture({ compression: 'quic' }, decode)
  await expectEqualThroughTwoModes(server, shownBy(picture))
  expect(jobs()).toBeGreaterThan(20)
})

it('drawn faster than decoded: in order, and the screenshot has all that came', { timeout: 120_000 }, async () => {
  const { decode, jobs } = workers()
  const { server, picture } = await openPicture({ compression: 'quic' }, decode)
  await server.card.createPrimary(SCREEN.width, SCREEN.height)
  await picture.screenshot()
  const large = await putBitmap(server.card, toBitmap(samplePicture('photo', SCREEN.width, SCREEN.height), 'rgb32'))
  const small = await putBitmap(server.card, toBitmap(samplePicture('text', 64, 48), 'rgb32'))
  for (let round = 0; round < 12; round++) {
    // The small one needs no decoder, and must not overtake the large one.
    await drawImage(server.card, large, SCREEN)
    await drawImage(server.card, small, { x: round * 70, y: round * 50, width: 64, height: 48 })
  }
  await pollUntil('the last draw', { timeoutMs: 20_000 }, async () => {
    return (await differingPixels(server, await picture.screenshot())) === 0 || undefined
  })
  expect(jobs()).toBeGreaterThan(1)
})

it('JPEG and packed GLZ in threads: the pictures of this thread', { timeout: 180_000 }, async () => {
  for (const [options, type] of [
    [{ compression: 'auto_lz', forSlowNetworks: 'jpeg' }, 'jpeg'],
    [{ compression: 'glz', forSlowNetworks: 'zlib-glz' }, 'zlibGlzRgb'],
  ] as const) {
    const { decode, jobs } = workers()
    const shots: Uint32Array[] = []
    for (const decoder of [decode, undefined]) {
      const { server, picture } = await openPicture(options, decoder, true)
      await server.card.createPrimary(640, 400)
      await picture.screenshot()
      for (let count = 1; count <= 2; count++) {
        await drawBitmap(server.card, toBitmap(samplePicture('photo', 600, 380), 'rgb32'), count * 8)
        await pollUntil(`image ${count}`, { timeoutMs: 20_000 }, async () => {
          return (picture.counters.images[type] ?? 0) >= count || undefined
        })
      }
      shots.push((await picture.screenshot()).data)
    }
    expect(jobs()).toBeGreaterThan(0)
    expect(shots[0]?.every((pixel, at) => pixel === shots[1]?.[at])).toBe(true)
  }
})

it('a video in MJPEG in threads: the pictures of this thread', { timeout: 180_000 }, async () => {
  const { decode, jobs } = workers()
  const server = await PictureServer.start({ compression: 'off', streaming: 'all' })
  onTestFinished(() => server[Symbol.asyncDispose]())
  const connection = new SpiceVmConnection('vm', {
    server: spiceServer({ kind: 'tcp', host: '127.0.0.1', port: server.port, tlsPort: undefined }),
    // Without a choice of codecs a server sends MJPEG.
    display: { capabilities: [DISPLAY_CAP.sizedStream, DISPLAY_CAP.monitorsConfig] },
  })
  onTestFinished(() => connection.disconnectAll())
  await connection.connectMainChannel({ timeoutMs: 60_000 })
  const here = new DisplayState()
  let picture: DisplayPicture | undefined
  const channel = await connection.openChannel('display', {
    prepare: (opening) => {
      picture = new DisplayPicture(opening, { decode })
      const { onMessage } = opening
      opening.onMessage = (type, body) => {
        here.handle(type, body)
        onMessage?.(type, body)
      }
    },
  })
  const there = picture as unknown as DisplayPicture
  await server.card.createPrimary(400, 300)
  await there.screenshot()
  const { width, height, data } = samplePicture('photo', 320, 240)
  const frames = Array.from({ length: 8 }, (_, index) => {
    const moved = data.map((_pixel, at) => data[(at + index * 9) % data.length] as number)
    return toBitmap({ width, height, data: moved }, 'rgb32')
  })
  let drawn = 0
  await pollUntil('ten frames of a stream', { timeoutMs: 60_000, maxIntervalMs: 20 }, async () => {
    await drawBitmap(server.card, frames[drawn++ % frames.length] as (typeof frames)[number], 20, 10)
    const release = channel.hold()
    // Nothing comes meanwhile, so both have the same.
    const shown = await there.screenshot()
    expect(Buffer.compare(new Uint8Array(shown.data.buffer), new Uint8Array(here.screenshot().data.buffer))).toBe(0)
    release()
    return (there.counters.frames['mjpeg'] ?? 0) >= 10 ? true : undefined
  })
  expect(jobs()).toBeGreaterThan(0)
})

it('threads end with the last share, and with a screen that is given up in the middle of a draw', async () => {
  const { pool, decode, release, jobs } = workers()
  const { server, picture } = await openPicture({ compression: 'quic' }, decode)
  await server.card.createPrimary(SCREEN.width, SCREEN.height)
  await picture.screenshot()
  await drawBitmap(server.card, toBitmap(samplePicture('photo', SCREEN.width, SCREEN.height), 'rgb32'))
  await pollUntil('a job', { timeoutMs: 10_000 }, async () => jobs() > 0 || undefined)
  expect(pool.threads).toBeGreaterThan(0)
  picture.close()
  await release()
  expect(pool.threads).toBe(0)
})

it('what a thread cannot do has a name', async () => {
  const { decode, release } = workers()
  const size = { width: 320, height: 200 }
  const bytes = new Uint8Array(await readFile(QUIC))
  const job = { codec: 'quic', size, bytes } as const
  expect((await decode(job)).pixels).toMatchObject({ ...size, hasAlpha: false })
  const broken = decode({ ...job, bytes: bytes.subarray(0, 9) })
  await expect(broken).rejects.toMatchObject({ code: 'ATP_SPICE_IMAGE', context: { place: 'quic' } })
  // Threads that end in the middle of their work.
  const unfinished = Array.from({ length: 20 }, () => decode(job).catch((error: unknown) => error))
  await release()
  expect(await Promise.all(unfinished)).toContainEqual(expect.objectContaining({ code: 'ATP_SPICE_DECODER' }))
})
