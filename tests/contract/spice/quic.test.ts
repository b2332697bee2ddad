import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { pollUntil, withDeadline } from '../../../framework/core/index.ts'
import { spiceServer } from '../../../framework/hosts/spice-carriers.ts'
import { DisplayState } from '../../../framework/protocols/spice/display/display-state.ts'
import { SpiceVmConnection } from '../../../framework/protocols/spice/index.ts'
import { drawBitmap, drawImage, putQuic } from '../../support/spice-server/picture.ts'
import { PictureServer } from '../../support/spice-server/picture-server.ts'
import { SURFACE_FORMAT } from '../../support/spice-server/qxl-device.ts'
import {
  PICTURE_KINDS,
  samplePicture,
  toBitmap,
  type ColourFormat,
} from '../../support/spice-server/sample-pictures.ts'
import { encodeQuic, QUIC_TYPE } from '../../unit/spice/quic/encode-quic.ts'

let server: PictureServer
let connection: SpiceVmConnection
const display = new DisplayState()

beforeAll(async () => {
  server = await PictureServer.start({ compression: 'quic' })
  connection = new SpiceVmConnection('vm', {
    server: spiceServer({ kind: 'tcp', host: '127.0.0.1', port: server.port, tlsPort: undefined }),
  })
  await connection.connectMainChannel()
  const channel = await connection.openChannel('display')
  channel.onMessage = (type, body) => display.handle(type, body)
})

afterAll(async () => {
  await connection?.disconnectAll()
  await server?.[Symbol.asyncDispose]()
})

/** A screen of its own for a test, black. */
async function newScreen(width: number, height: number, format?: number): Promise<void> {
  if (display.primary) await server.card.destroyPrimary()
  await pollUntil('the screen to go', { timeoutMs: 10_000 }, async () => (display.primary ? undefined : true))
  await server.card.createPrimary(width, height, format)
  await pollUntil('a screen', { timeoutMs: 10_000 }, async () => (display.isMarked ? true : undefined))
}

/** Draws, and waits until the client has it: a server drops draws that others cover before they were sent. */
async function shown(draw: () => Promise<void>): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  display.onDamage = () => resolve()
  await draw()
  await withDeadline('the draw to arrive', { timeoutMs: 20_000 }, () => promise)
}

/** Pixels of which the client's picture differs from QEMU's. */
async function differingPixels(): Promise<number> {
  const seen = display.screenshot()
  const there = await server.screendump()
  expect({ width: seen.width, height: seen.height }).toEqual({ width: there.width, height: there.height })
  return seen.data.filter((pixel, index) => ((pixel ^ (there.data[index] as number)) & 0xffffff) !== 0).length
}

function quicImages(): number {
  return display.counters.images['quic'] ?? 0
}

const SIZES = [
  [301, 203],
  [1001, 3],
  [3, 777],
] as const

describe('a screen that a real server sends as QUIC', () => {
  it.each([
    ['rgb32', SURFACE_FORMAT.xrgb],
    ['rgb24', SURFACE_FORMAT.xrgb],
    ['rgba', SURFACE_FORMAT.xrgb],
    ['rgb16', SURFACE_FORMAT.rgb555],
  ] as [ColourFormat, number][])('%s: no pixel differs from what QEMU shows', async (format, surface) => {
    await newScreen(1024, 800, surface)
    const before = quicImages()
    for (const kind of PICTURE_KINDS) {
      for (const [width, height] of SIZES) {
        await shown(() => drawBitmap(server.card, toBitmap(samplePicture(kind, width, height), format), 7, 5))
      }
      expect(await differingPixels(), kind).toBe(0)
    }
    // The server leaves noise that would not get smaller uncompressed.
    expect(quicImages() - before).toBeGreaterThanOrEqual(15)
  })

  it.each([
    [1024, 768],
    [800, 600],
  ])('a whole desktop of %i×%i', async (width, height) => {
    await newScreen(width, height)
    await shown(() => drawBitmap(server.card, toBitmap(samplePicture('desktop', width, height), 'rgb32')))
    expect(await differingPixels()).toBe(0)
  })
})

describe('images that the guest’s driver made QUIC of', () => {
  it.each(['rgb32', 'rgb24', 'rgb16', 'rgba'] as const)('%s: rows and columns of one pixel, too', async (type) => {
    await newScreen(640, 480)
    const before = quicImages()
    const sizes = [
      [1, 1],
      [1, 300],
      [300, 1],
      [2, 77],
      [77, 2],
      [133, 71],
    ] as const
    for (const [width, height] of sizes) {
      for (const kind of ['noise', 'desktop', 'flat'] as const) {
        const bytes = encodeQuic(QUIC_TYPE[type], width, height, samplePicture(kind, width, height).data)
        const image = await putQuic(server.card, bytes, { width, height })
        await shown(() => drawImage(server.card, image, { x: 3, y: 9, width, height }))
        expect(await differingPixels(), `${kind} ${width}×${height}`).toBe(0)
      }
    }
    expect(quicImages() - before).toBe(18)
  })
})
