import { describe, expect, it, onTestFinished } from 'vitest'
import { pollUntil, withDeadline } from '../../../framework/core/index.ts'
import { SpiceSession } from '../../../framework/desktop/spice-session.ts'
import { spiceServer } from '../../../framework/hosts/spice-carriers.ts'
import type { CursorState } from '../../../framework/protocols/spice/display/cursor.ts'
import { DisplayState } from '../../../framework/protocols/spice/display/display-state.ts'
import { showCursor } from '../../../framework/protocols/spice/display/live-cursor.ts'
import { SpiceVmConnection } from '../../../framework/protocols/spice/index.ts'
import { DISPLAY_CAP } from '../../../framework/protocols/spice/wire/numbers.ts'
import { SpiceWriter } from '../../../framework/protocols/spice/wire/writer.ts'
import { draw, drawBitmap, QXL_DRAW } from '../../support/spice-server/picture.ts'
import { PictureServer, type ServerCompression } from '../../support/spice-server/picture-server.ts'
import { SURFACE_FORMAT } from '../../support/spice-server/qxl-device.ts'
import { QxlOperations } from '../../support/spice-server/qxl-operations.ts'
import { PICTURE_KINDS, samplePicture, toBitmap, type Picture } from '../../support/spice-server/sample-pictures.ts'

interface Console extends AsyncDisposable {
  server: PictureServer
  connection: SpiceVmConnection
  display: DisplayState
  /** Draws, waits until the client has as many draws as were made, and compares with QEMU's own screen. */
  shown(draws: () => Promise<number>): Promise<void>
  newScreen(width: number, height: number, format?: number): Promise<void>
}

async function openConsole(compression: ServerCompression, isVideo = false): Promise<Console> {
  const server = await PictureServer.start({ compression, streaming: isVideo ? 'all' : 'off' })
  const connection = new SpiceVmConnection('vm', {
    server: spiceServer({ kind: 'tcp', host: '127.0.0.1', port: server.port, tlsPort: undefined }),
    ...(isVideo && {
      display: { capabilities: [DISPLAY_CAP.sizedStream, DISPLAY_CAP.multiCodec, DISPLAY_CAP.codecMjpeg] },
    }),
  })
  await connection.connectMainChannel()
  const state = new DisplayState()
  await connection.openChannel('display', {
    prepare: (channel) => {
      channel.onMessage = (type, body) => state.handle(type, body)
    },
  })
  let hasScreen = false
  return {
    server,
    connection,
    display: state,
    shown: async (draws) => {
      let seen = 0
      const arrived = Promise.withResolvers<void>()
      let wanted = Infinity
      state.onDamage = () => {
        if (++seen >= wanted) arrived.resolve()
      }
      wanted = await draws()
      if (seen >= wanted) arrived.resolve()
      await withDeadline(`${wanted} draws to arrive`, { timeoutMs: 20_000 }, () => arrived.promise)
      const there = await server.screendump()
      const here = state.screenshot()
      expect({ width: here.width, height: here.height }).toEqual({ width: there.width, height: there.height })
      expect(here.data.filter((pixel, index) => pixel !== there.data[index]).length).toBe(0)
    },
    newScreen: async (width, height, format) => {
      if (hasScreen) {
        await server.card.destroyPrimary()
        await pollUntil('the screen to go', { timeoutMs: 10_000 }, async () => (state.primary ? undefined : true))
      }
      hasScreen = true
      // Before the first one there may be the text screen of the VGA card.
      await server.card.createPrimary(width, height, format)
      await pollUntil('a screen', { timeoutMs: 10_000 }, async () =>
        state.isMarked && state.primary?.width === width && state.primary.height === height ? true : undefined,
      )
    },
    [Symbol.asyncDispose]: async () => {
      await connection.disconnectAll()
      await server[Symbol.asyncDispose]()
    },
  }
}

/** A photograph, its columns moved. */
function shifted(columns: number): Picture {
  const { width, height, data } = samplePicture('gradient', 320, 240)
  return { width, height, data: data.map((_, index) => data[(index + columns) % data.length] as number) }
}

const WAYS: [string, ServerCompression, (images: Record<string, number>) => number | undefined][] = [
  ['off', 'off', ({ bitmap }) => bitmap],
  ['LZ', 'lz', ({ lzRgb }) => lzRgb],
  ['LZ4', 'off', ({ lz4 }) => lz4],
  ['QUIC', 'quic', ({ quic }) => quic],
  ['GLZ', 'glz', ({ glzRgb }) => glzRgb],
  ['automatic LZ', 'auto_lz', ({ quic, lzRgb }) => Math.min(quic ?? 0, lzRgb ?? 0)],
]

describe('the screen as a real server sends it', () => {
  it.each(WAYS)('%s: two resolutions, no pixel differs', async (name, compression, counted) => {
    await using console = await openConsole(compression)
    const { card } = console.server
    if (name === 'LZ4') await console.connection.getChannel('display')?.preferCompression('lz4')
    for (const [width, height] of [
      [1024, 768],
      [800, 600],
    ] as const) {
      await console.newScreen(width, height)
      await console.shown(async () => {
        await drawBitmap(card, toBitmap(samplePicture('desktop', width, height), 'rgb32'))
        return 1
      })
      await console.shown(async () => {
        for (const [index, kind] of PICTURE_KINDS.entries()) {
          await drawBitmap(card, toBitmap(samplePicture(kind, 150, 90), 'rgb32'), 20 + index * 100, 30 + index * 70)
        }
        const scroll = { x: 0, y: 0, width, height: height - 16 }
        await draw(card, QXL_DRAW.copyBits, scroll, new QxlOperations(card).copyBits(0, 16))
        return PICTURE_KINDS.length + 1
      })
    }
    expect(counted(console.display.counters.images)).toBeGreaterThan(3)
    expect(console.display.counters.unsupported).toEqual({})
  })

  it('a screen of 16 bits', async () => {
    await using console = await openConsole('off')
    const { card } = console.server
    await console.newScreen(200, 150, SURFACE_FORMAT.rgb555)
    await console.shown(async () => {
      await drawBitmap(card, toBitmap(samplePicture('photo', 200, 150), 'rgb16'))
      const operations = new QxlOperations(card)
      const box = { x: 20, y: 30, width: 60, height: 50 }
      await draw(card, QXL_DRAW.fill, box, await operations.fill(0x2a5f, 8))
      await draw(card, QXL_DRAW.fill, { ...box, x: 90 }, await operations.fill(0x7c1f, 64))
      return 3
    })
  })

  it('pictures that the guest keeps beside the screen', async () => {
    await using console = await openConsole('off')
    const { card } = console.server
    const operations = new QxlOperations(card)
    await console.newScreen(200, 150)
    const area = { x: 0, y: 0, width: 50, height: 40 }
    const photo = toBitmap(samplePicture('photo', 50, 40), 'rgb32')
    await console.shown(async () => {
      await drawBitmap(card, toBitmap(samplePicture('desktop', 200, 150), 'rgb32'))
      await operations.createSurface(1, SURFACE_FORMAT.argb, 50, 40)
      await draw(card, QXL_DRAW.fill, area, await operations.fill(0x80402010, 8), undefined, { surfaceId: 1 })
      await operations.createSurface(2, SURFACE_FORMAT.a8, 52, 40)
      await draw(card, QXL_DRAW.fill, area, await operations.fill(0x90, 8), undefined, { surfaceId: 2 })
      return 3
    })
    const from = (surfaceId: number) => ({ reads: { surfaceId, area } })
    const picture = () => operations.surfaceImage(1, 50, 40)
    const mask = await operations.surfaceImage(2, 52, 40)
    await console.shown(async () => {
      await draw(card, QXL_DRAW.copy, area, await operations.copy(await picture(), area, 8), undefined, from(1))
      const over = await operations.composite(3, await picture())
      await draw(card, QXL_DRAW.composite, { ...area, x: 60 }, over, undefined, from(1))
      for (const [y, flags] of [
        [0, 0],
        [50, 2],
      ] as const) {
        const blend = await operations.alphaBlend(await picture(), area, 200, flags)
        await draw(card, QXL_DRAW.alphaBlend, { ...area, x: 120, y }, blend, undefined, from(1))
      }
      const masked = await operations.composite(3, photo, { mask })
      await draw(card, QXL_DRAW.composite, { ...area, y: 60 }, masked, undefined, from(2))
      const itself = await operations.copy(await operations.surfaceImage(0, 200, 150), { ...area, x: 90 }, 8)
      // With a clip it counts as no cover for what lies below: the server reads that again.
      const place = { ...area, x: 100, y: 100 }
      await draw(card, QXL_DRAW.copy, place, itself, [place], from(0))
      return 6
    })
    expect(console.display.counters.surfaces).toMatchObject({ 8: 1, 96: 1 })
    await operations.destroySurface(1)
    await pollUntil('the surface to go', { timeoutMs: 10_000 }, async () =>
      console.display.surfaces.has(1) ? undefined : true,
    )
  })

  it('a video in MJPEG, and the picture without loss after its end', { timeout: 90_000 }, async () => {
    await using console = await openConsole('off', true)
    const { card } = console.server
    const { display } = console
    await console.newScreen(400, 300)
    // Something that changes often becomes a stream.
    const frames = Array.from({ length: 8 }, (_, index) => toBitmap(shifted(index * 9), 'rgb32'))
    let drawn = 0
    await pollUntil('ten frames of a stream', { timeoutMs: 30_000, maxIntervalMs: 20 }, async () => {
      await drawBitmap(card, frames[drawn++ % frames.length] as (typeof frames)[number], 20, 10)
      return (display.counters.frames['mjpeg'] ?? 0) >= 10 ? true : undefined
    })
    await pollUntil('the stream to end', { timeoutMs: 30_000 }, async () =>
      display.streams.size === 0 ? true : undefined,
    )
    const same = await pollUntil('the same picture', { timeoutMs: 10_000 }, async () => {
      const there = await console.server.screendump()
      return display.screenshot().data.every((pixel, index) => pixel === there.data[index]) ? true : undefined
    })
    expect(same).toBe(true)
    expect(display.counters).toMatchObject({ streams: { mjpeg: expect.any(Number) }, unsupported: {} })
  })

  it('the pointer that the guest draws', async () => {
    await using console = await openConsole('off')
    const { card } = console.server
    let cursor: CursorState | undefined
    await console.connection.openChannel('cursor', {
      prepare: (channel) => {
        cursor = showCursor(channel)
      },
    })
    const state = cursor as unknown as CursorState
    await console.newScreen(200, 150)
    const pixels = new Uint8Array(Uint32Array.from({ length: 64 }, (_, index) => 0xff000000 + index).buffer)
    const shape = new SpiceWriter().u64(5n).u8(0).u8(0).u16(8).u16(8).u16(2).u16(3)
    shape.u32(pixels.length).u32(pixels.length).u64(0n).u64(0n).bytes(pixels)
    // The header's type is of two bytes in the card's memory.
    const command = new SpiceWriter().u64(1n).u8(0).u16(40).u16(50).u8(1)
    command.u64(await card.put(shape.finish())).bytes(new Uint8Array(128))
    await card.cursorCommand(await card.put(command.finish()))
    const seen = await pollUntil('the shape', { timeoutMs: 10_000 }, async () => state.shape)
    expect(seen).toMatchObject({ width: 8, height: 8, hotSpot: { x: 2, y: 3 } })
    expect([...seen.data.subarray(0, 3)]).toEqual([0xff000000, 0xff000001, 0xff000002])
    expect([state.position, state.isVisible]).toEqual([{ x: 40, y: 50 }, true])
    // The same over a session that begins now. The server tells it the shape, but not where it was put.
    await console.connection.disconnectAll()
    const connection = new SpiceVmConnection('vm', { server: console.connection.server })
    onTestFinished(() => connection.disconnectAll())
    await connection.connectMainChannel()
    const session = new SpiceSession('vm', connection)
    const [plain, composed] = [await session.screen(), await session.screen({ pointer: true })]
    const without = await plain.picture()
    await card.cursorCommand(await card.put(command.finish()))
    const middle = 52 * 200 + 41
    const { data } = await pollUntil('the pointer on the screen', { timeoutMs: 10_000 }, async () => {
      const picture = await composed.picture()
      return (picture.data[middle] as number) & 0xffffff ? picture : undefined
    })
    expect((data[middle] as number) & 0xffffff).toBe(5 * 8 + 3)
    const box = new Set(Array.from({ length: 64 }, (_, index) => (47 + (index >> 3)) * 200 + 38 + (index & 7)))
    const places = [...data.keys()].filter((at) => ((data[at] as number) ^ (without.data[at] as number)) & 0xffffff)
    // The shape's first pixel is black, as is the screen.
    expect(places).toEqual([...box].slice(1))
  })
})
