import { expect } from 'vitest'
import { drawBitmap } from './picture.ts'
import type { PictureServer } from './picture-server.ts'
import { PICTURE_KINDS, samplePicture, toBitmap, type PictureKind } from './sample-pictures.ts'

/** A client's view of the server's screen. */
export interface ShownScreen {
  /** Resolves when there is a complete picture, or none at all. */
  is(there: boolean): Promise<void>
  /** Draws, and resolves when the client has it: a server drops draws that others cover before they were sent. */
  shown(draw: () => Promise<void>): Promise<void>
  screenshot(): Promise<{ width: number; height: number; data: Uint32Array }>
}

/** Draws pictures of all kinds in two modes, and expects that no pixel differs from what QEMU shows. */
export async function expectEqualThroughTwoModes(
  server: PictureServer,
  screen: ShownScreen,
  kinds: readonly PictureKind[] = PICTURE_KINDS,
): Promise<void> {
  for (const [mode, [width, height]] of (
    [
      [1024, 768],
      [800, 600],
    ] as const
  ).entries()) {
    if (mode > 0) await server.card.destroyPrimary()
    await screen.is(false)
    await server.card.createPrimary(width, height)
    await screen.is(true)
    for (const kind of kinds) {
      const picture = samplePicture(kind, width, height)
      await screen.shown(() => drawBitmap(server.card, toBitmap(picture, 'rgb32')))
      // Scrolled, in all formats: what refers to pictures before.
      for (const [index, format] of (['rgb24', 'rgba', 'rgb16', 'rgb32'] as const).entries()) {
        const part = toBitmap(samplePicture(kind, 320, 240), format)
        await screen.shown(() => drawBitmap(server.card, part, index * 16, index * 9))
      }
      const seen = await screen.screenshot()
      expect({ width: seen.width, height: seen.height }).toEqual({ width, height })
      expect(await differingPixels(server, seen), `${kind} at ${width}×${height}`).toBe(0)
    }
  }
}

/** How many pixels of a client's picture are not what QEMU shows; all, where the sizes differ. */
export async function differingPixels(
  server: PictureServer,
  seen: { width: number; height: number; data: Uint32Array },
): Promise<number> {
  const there = await server.screendump()
  if (there.width !== seen.width || there.height !== seen.height) return there.data.length
  return seen.data.filter((pixel, at) => ((pixel ^ (there.data[at] as number)) & 0xffffff) !== 0).length
}
