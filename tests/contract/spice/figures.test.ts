import { describe, expect, it } from 'vitest'
import { spiceServer } from '../../../framework/hosts/spice-carriers.ts'
import { DisplayPicture, measureDisplay, SpiceVmConnection } from '../../../framework/protocols/spice/index.ts'
import { drawBitmap } from '../../support/spice-server/picture.ts'
import { PictureServer } from '../../support/spice-server/picture-server.ts'
import { samplePicture, toBitmap } from '../../support/spice-server/sample-pictures.ts'

const EDGE = 64

describe('the figures of a display', () => {
  it('count what a server drew meanwhile, and nothing of before', async () => {
    await using server = await PictureServer.start({ compression: 'lz' })
    const connection = new SpiceVmConnection('vm', {
      server: spiceServer({ kind: 'tcp', host: '127.0.0.1', port: server.port }),
    })
    try {
      await connection.connectMainChannel()
      await server.card.createPrimary(640, 480)
      let picture: DisplayPicture | undefined
      const display = await connection.openChannel('display', {
        prepare: (channel) => void (picture = new DisplayPicture(channel)),
      })
      if (!picture) throw new Error('the display was open before')
      await picture.screenshot()
      const bitmap = toBitmap(samplePicture('photo', EDGE, EDGE), 'rgb32')
      const before = display.statistics
      const measuring = measureDisplay(display, picture, { forMs: 1500 })
      // Beside each other: a server drops draws that others cover before they were sent.
      for (let column = 0; column < 8; column++) await drawBitmap(server.card, bitmap, column * EDGE, 0)
      const figures = await measuring
      const after = display.statistics
      expect(figures).toMatchObject({ display: 0, width: 640, height: 480, draws: { copy: 8 }, videoFrames: {} })
      expect(Object.values(figures.images).reduce((sum, count) => sum + count, 0)).toBe(8)
      expect(figures.frames).toBeGreaterThan(0)
      expect(figures.frames).toBeLessThanOrEqual(8)
      expect(figures.messages).toBe(after.messagesIn - before.messagesIn)
      expect(figures.bytes).toBe(after.bytesIn - before.bytesIn)
      // A photo hardly shrinks.
      expect(figures.bytes).toBeGreaterThan(8 * EDGE * EDGE)
      expect(figures.durationMs).toBeGreaterThan(1490)
      expect(figures.bytesPerS).toBeCloseTo((figures.bytes * 1000) / figures.durationMs)
      const still = await measureDisplay(display, picture, { forMs: 100 })
      expect(still).toMatchObject({ frames: 0, framesPerS: 0, draws: {}, images: {} })
      const stop = AbortSignal.abort()
      await expect(measureDisplay(display, picture, { forMs: 60_000, signal: stop })).rejects.toMatchObject({
        code: 'ATP_INTERRUPTED',
      })
    } finally {
      await connection.disconnectAll()
    }
  })
})
