import { afterEach, describe, expect, it } from 'vitest'
import { pollUntil, withDeadline } from '../../../framework/core/index.ts'
import { spiceServer } from '../../../framework/hosts/spice-carriers.ts'
import { DisplayState } from '../../../framework/protocols/spice/display/display-state.ts'
import { SpiceVmConnection } from '../../../framework/protocols/spice/index.ts'
import type { DisplayChannel } from '../../../framework/protocols/spice/channels/display.ts'
import { drawBitmap } from '../../support/spice-server/picture.ts'
import { PictureServer, type ServerCompression } from '../../support/spice-server/picture-server.ts'
import { PICTURE_KINDS, samplePicture, toBitmap } from '../../support/spice-server/sample-pictures.ts'

const TIMEOUT_MS = 180_000
const open: AsyncDisposable[] = []

afterEach(async () => {
  for (const resource of open.splice(0).toReversed()) await resource[Symbol.asyncDispose]()
})

interface Screen {
  server: PictureServer
  display: DisplayState
  channel: DisplayChannel
}

async function openScreen(compression: ServerCompression): Promise<Screen> {
  const server = await PictureServer.start({ compression })
  open.push(server)
  const connection = new SpiceVmConnection('vm', {
    server: spiceServer({ kind: 'tcp', host: '127.0.0.1', port: server.port, tlsPort: undefined }),
  })
  open.push({ [Symbol.asyncDispose]: () => connection.disconnectAll() })
  await connection.connectMainChannel()
  const channel = await connection.openChannel('display')
  const display = new DisplayState()
  channel.onMessage = (type, body) => display.handle(type, body)
  return { server, display, channel }
}

/** Draws, and waits until the client has it: a server drops draws that others cover before they were sent. */
async function shown(display: DisplayState, draw: () => Promise<void>): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  display.onDamage = () => resolve()
  await draw()
  await withDeadline('the draw to arrive', { timeoutMs: 20_000 }, () => promise)
}

describe('a screen through two modes, as a real server sends it', () => {
  it.each([
    ['off', 'bitmap', 'off'],
    ['lz', 'lzRgb', 'lz'],
    ['lz4', 'lz4', 'off'],
    ['glz', 'glzRgb', 'glz'],
  ] as const)(
    '%s: no pixel differs from what QEMU shows',
    { timeout: TIMEOUT_MS },
    async (wanted, type, compression) => {
      const { server, display, channel } = await openScreen(compression)
      if (wanted === 'lz4') await channel.preferCompression('lz4')
      for (const [width, height] of [
        [1024, 768],
        [800, 600],
      ] as const) {
        if (display.primary) await server.card.destroyPrimary()
        await pollUntil('the screen to go', { timeoutMs: 10_000 }, async () => (display.primary ? undefined : true))
        await server.card.createPrimary(width, height)
        await pollUntil('a screen', { timeoutMs: 10_000 }, async () => (display.isMarked ? true : undefined))
        for (const kind of PICTURE_KINDS) {
          const picture = samplePicture(kind, width, height)
          await shown(display, () => drawBitmap(server.card, toBitmap(picture, 'rgb32')))
          // Scrolled, in all formats: what refers to pictures before.
          for (const [index, format] of (['rgb24', 'rgba', 'rgb16', 'rgb32'] as const).entries()) {
            const part = toBitmap(samplePicture(kind, 320, 240), format)
            await shown(display, () => drawBitmap(server.card, part, index * 16, index * 9))
          }
          const seen = display.screenshot()
          const there = await server.screendump()
          expect({ width: seen.width, height: seen.height }).toEqual({ width, height })
          const differing = seen.data.filter(
            (pixel, at) => ((pixel ^ (there.data[at] as number)) & 0xffffff) !== 0,
          ).length
          expect(differing, `${kind} at ${width}×${height}`).toBe(0)
        }
      }
      // Noise does not get smaller, and goes as it is.
      expect(display.counters.images[type]).toBeGreaterThanOrEqual(30)
    },
  )
})
