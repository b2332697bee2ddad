import { imageJob, type ImageJob } from '../codec/image-job.ts'
import { MAX_IMAGE_PIXELS } from '../codec/pixels.ts'
import { DISPLAY_SERVER } from '../wire/numbers.ts'
import type { SpiceReader } from '../wire/reader.ts'
import { readBase, readImage } from './draw-messages.ts'

/** A part of a message that can be decoded before the message is handled. */
export interface AheadJob {
  /** Where in the message's body the image begins. */
  at: number
  job: ImageJob
}

/** Fewer bytes, or pixels, are decoded sooner than sent to a worker and back: that takes about a millisecond. */
export const AHEAD_MIN_BYTES = 8 * 1024
const AHEAD_MIN_PIXELS = 128 * 256

/** By draw operation: bytes between its base and its image. Other operations have none, or small ones. */
const IMAGE_AFTER_BYTES = new Map<number, number>([
  [DISPLAY_SERVER.drawOpaque, 0],
  [DISPLAY_SERVER.drawCopy, 0],
  [DISPLAY_SERVER.drawBlend, 0],
  [DISPLAY_SERVER.drawRop3, 0],
  [DISPLAY_SERVER.drawTransparent, 0],
  [DISPLAY_SERVER.drawAlphaBlend, 2],
  [DISPLAY_SERVER.drawComposite, 4],
])

/**
 * The image of a draw operation, where decoding it takes long.
 *
 * @throws `ATP_SPICE_PROTOCOL`, `ATP_SPICE_IMAGE`
 */
export function imageAhead(messageType: number, reader: SpiceReader): AheadJob | undefined {
  const afterBytes = IMAGE_AFTER_BYTES.get(messageType)
  if (afterBytes === undefined) return undefined
  readBase(reader)
  reader.skip(afterBytes)
  const { descriptor, reader: image } = readImage(reader)
  const pixels = descriptor.width * descriptor.height
  if (pixels < AHEAD_MIN_PIXELS || pixels > MAX_IMAGE_PIXELS) return undefined
  const at = image.offset
  const job = imageJob(descriptor, image)
  return job && job.bytes.length >= AHEAD_MIN_BYTES ? { at, job } : undefined
}
