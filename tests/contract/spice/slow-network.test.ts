import { expect, it, onTestFinished } from 'vitest'
import { pollUntil } from '../../../framework/core/index.ts'
import { spiceServer } from '../../../framework/hosts/spice-carriers.ts'
import { DisplayPicture, SpiceVmConnection } from '../../../framework/protocols/spice/index.ts'
import { FaultProxy } from '../../support/spice-server/fault-proxy.ts'
import { drawBitmap, drawImage, putBitmap } from '../../support/spice-server/picture.ts'
import { PictureServer, type PictureServerOptions } from '../../support/spice-server/picture-server.ts'
import { samplePicture, toBitmap } from '../../support/spice-server/sample-pictures.ts'

/** Of the quarter of a megabyte with which a server measures the network. */
const SINGLE_BYTES = 100_000
const [WIDTH, HEIGHT] = [320, 200]

/** A server's picture over a network that it finds slow: less than 10 Mbit/s. */
async function overSlowNetwork(options: PictureServerOptions) {
  const server = await PictureServer.start(options)
  onTestFinished(() => server[Symbol.asyncDispose]())
  await server.card.createPrimary(WIDTH, HEIGHT)
  const proxy = await FaultProxy.start(server.port)
  onTestFinished(() => proxy[Symbol.asyncDispose]())
  proxy.set('main', { singleBytes: SINGLE_BYTES })
  const connection = new SpiceVmConnection('vm', {
    server: spiceServer({ kind: 'tcp', host: '127.0.0.1', port: proxy.port, tlsPort: undefined }),
  })
  onTestFinished(() => connection.disconnectAll())
  await connection.connectMainChannel({ timeoutMs: 60_000 })
  let picture: DisplayPicture | undefined
  await connection.openChannel('display', { prepare: (channel) => (picture = new DisplayPicture(channel)) })
  return { server, picture: picture as DisplayPicture }
}

/** Waits until so many images of a type came. */
async function images(picture: DisplayPicture, type: string, count: number): Promise<void> {
  await pollUntil(`${count} images of type ${type}`, { timeoutMs: 20_000 }, async () => {
    return (picture.counters.images[type] ?? 0) >= count || undefined
  })
}

/** Mean difference of a colour between a client's picture and what QEMU shows, 0 to 255. */
async function meanDifference(server: PictureServer, picture: DisplayPicture): Promise<number> {
  const there = await server.screendump()
  const { data } = await picture.screenshot()
  let sum = 0
  for (const [at, pixel] of there.data.entries()) {
    for (const shift of [0, 8, 16])
      sum += Math.abs(((pixel >>> shift) & 0xff) - (((data[at] as number) >>> shift) & 0xff))
  }
  return sum / (3 * there.data.length)
}

it('JPEG: the picture is nearly what QEMU shows', async () => {
  const { server, picture } = await overSlowNetwork({ compression: 'auto_lz', forSlowNetworks: 'jpeg' })
  await drawBitmap(server.card, toBitmap(samplePicture('photo', WIDTH, HEIGHT), 'rgb32'))
  await images(picture, 'jpeg', 1)
  await drawBitmap(server.card, toBitmap(samplePicture('photo', 160, 100), 'rgba'), 20, 30)
  await images(picture, 'jpegAlpha', 1)
  const difference = await meanDifference(server, picture)
  expect(difference).toBeGreaterThan(0)
  expect(difference).toBeLessThan(6)
})

it('an image that was kept without loss is told apart from those with loss', async () => {
  const { server, picture } = await overSlowNetwork({ compression: 'lz', forSlowNetworks: 'jpeg' })
  const text = await putBitmap(server.card, toBitmap(samplePicture('text', 160, 100), 'rgb32'), true)
  for (const y of [0, 100]) await drawImage(server.card, text, { x: 0, y, width: 160, height: 100 })
  await images(picture, 'fromCacheLossless', 1)
  expect(await meanDifference(server, picture)).toBe(0)
})

it('GLZ packed once more: no pixel differs', async () => {
  const { server, picture } = await overSlowNetwork({ compression: 'glz', forSlowNetworks: 'zlib-glz' })
  for (const [index, kind] of (['text', 'desktop', 'photo'] as const).entries()) {
    await drawBitmap(server.card, toBitmap(samplePicture(kind, WIDTH, HEIGHT), 'rgb32'))
    await images(picture, 'zlibGlzRgb', index + 1)
  }
  expect(await meanDifference(server, picture)).toBe(0)
})
