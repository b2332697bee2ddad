import { expect, it, onTestFinished } from 'vitest'
import { pollUntil } from '../../../framework/core/index.ts'
import { spiceServer } from '../../../framework/hosts/spice-carriers.ts'
import { DisplayPicture, SpiceVmConnection } from '../../../framework/protocols/spice/index.ts'
import { BITMAP_FORMAT, drawBitmap, drawImage, putBitmap, type Bitmap } from '../../support/spice-server/picture.ts'
import { PictureServer } from '../../support/spice-server/picture-server.ts'
import { samplePicture, toBitmap } from '../../support/spice-server/sample-pictures.ts'
import { differingPixels } from '../../support/spice-server/two-modes.ts'

const [WIDTH, HEIGHT] = [320, 200]

async function openPicture() {
  const server = await PictureServer.start({ compression: 'lz' })
  onTestFinished(() => server[Symbol.asyncDispose]())
  await server.card.createPrimary(WIDTH, HEIGHT)
  const connection = new SpiceVmConnection('vm', {
    server: spiceServer({ kind: 'tcp', host: '127.0.0.1', port: server.port, tlsPort: undefined }),
  })
  onTestFinished(() => connection.disconnectAll())
  await connection.connectMainChannel()
  let picture: DisplayPicture | undefined
  await connection.openChannel('display', { prepare: (channel) => (picture = new DisplayPicture(channel)) })
  const shown = picture as DisplayPicture
  // With what was on the screen before.
  await pollUntil('the first picture', { timeoutMs: 20_000 }, async () => {
    return (await differingPixels(server, await shown.screenshot())) === 0 || undefined
  })
  return { server, picture: shown }
}

/** Draws, and waits until so many images of a type came; then no pixel may differ. */
async function expectImages(
  { server, picture }: Awaited<ReturnType<typeof openPicture>>,
  type: string,
  count: number,
  draw: () => Promise<void>,
): Promise<void> {
  const before = picture.counters.images[type] ?? 0
  await draw()
  await pollUntil(`${count} images of type ${type}`, { timeoutMs: 20_000 }, async () => {
    return (picture.counters.images[type] ?? 0) >= before + count || undefined
  })
  expect(await differingPixels(server, await picture.screenshot())).toBe(0)
}

/** Rings of indices into a palette of half as many colours as there are indices. */
function rings(format: 'bit8' | 'bit4Be' | 'bit1Be', bits: number): Bitmap {
  const [width, height] = [160, 100]
  const stride = (width * bits) / 8
  const bytes = Uint8Array.from({ length: stride * height }, (_, at) => ((at % stride) * Math.floor(at / stride)) >> 4)
  const palette = Array.from({ length: 1 << bits }, (_, index) => (index * 0x01f3a7 + 0x203040) & 0xffffff)
  return { width, height, format: BITMAP_FORMAT[format], stride, bytes, palette }
}

it('indices into palettes: no pixel differs', async () => {
  const opened = await openPicture()
  const { card } = opened.server
  await expectImages(opened, 'lzPlt', 1, () => drawBitmap(card, rings('bit8', 8)))
  await expectImages(opened, 'lzPlt', 1, () => drawBitmap(card, rings('bit4Be', 4), 160, 0))
  await expectImages(opened, 'lzPlt', 1, () => drawBitmap(card, rings('bit1Be', 1), 0, 100))
})

it('an image that the client kept is not sent again: no pixel differs', async () => {
  const opened = await openPicture()
  const { card } = opened.server
  const part = { x: 0, y: 0, width: 120, height: 80 }
  const image = await putBitmap(card, toBitmap(samplePicture('photo', 120, 80), 'rgb32'), true)
  await expectImages(opened, 'lzRgb', 1, () => drawImage(card, image, part))
  const sent = opened.picture.counters.images['lzRgb']
  for (let again = 1; again <= 3; again++) {
    const place = { ...part, x: again * 50, y: again * 30 }
    await expectImages(opened, 'fromCache', 1, () => drawImage(card, image, place))
  }
  expect(opened.picture.counters.images['lzRgb']).toBe(sent)
})
