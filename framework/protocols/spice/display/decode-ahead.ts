import { imageJob, type ImageJob } from '../codec/image-job.ts'
import { MAX_IMAGE_PIXELS, type Size } from '../codec/pixels.ts'
import { DISPLAY_SERVER } from '../wire/numbers.ts'
import type { SpiceReader } from '../wire/reader.ts'
import { readBase, readImage } from './draw-messages.ts'

/** A part of a message that can be decoded before the message is handled. */
export interface AheadJob {
  /** Where in the message's body the image begins. */
  at: number
  job: ImageJob
}

/** No message of fewer bytes has anything that takes long. */
export const AHEAD_MIN_BYTES = 1024
/** Less is decoded sooner than sent to a worker and back, which takes about half a millisecond. */
const MIN_PIXELS = 128 * 256
/** Of what is not JPEG, whose pixels take their time however few bytes make them. */
const MIN_BYTES = 8 * 1024

/** Whether decoding an image of so many pixels takes long. */
export function takesLong({ codec, bytes }: ImageJob, { width, height }: Size): boolean {
  const pixels = width * height
  const minBytes = codec === 'jpeg' || codec === 'jpegAlpha' ? AHEAD_MIN_BYTES : MIN_BYTES
  return pixels >= MIN_PIXELS && pixels <= MAX_IMAGE_PIXELS && bytes.length >= minBytes
}

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
  const at = image.offset
  const job = imageJob(descriptor, image)
  return job && takesLong(job, descriptor) ? { at, job } : undefined
}
