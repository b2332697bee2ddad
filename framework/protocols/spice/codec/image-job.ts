import { IMAGE_TYPE } from '../wire/numbers.ts'
import type { SpiceReader } from '../wire/reader.ts'
import { inflateGlz } from './glz.ts'
import type { JpegTables } from './jpeg-frame.ts'
import { decodeJpeg, decodeJpegAlpha } from './jpeg.ts'
import { imageError, type Pixels, type Size } from './pixels.ts'
import { decodeQuic } from './quic.ts'

/**
 * Decoding that needs nothing but what is in here, and takes long: it can be done elsewhere. Plain data, which can be
 * sent to a worker.
 */
export type ImageJob = { bytes: Uint8Array } & (
  | { codec: 'quic'; size: Size }
  /** Without a size it is that of the JPEG. `tables` are those of the frames before, in a stream of them. */
  | { codec: 'jpeg'; size: Size | undefined; tables?: JpegTables }
  /** `bytes` begin with the JPEG; its alpha, an LZ image, follows. */
  | { codec: 'jpegAlpha'; size: Size; jpegBytes: number }
  /** A GLZ image packed once more. Its own decoding needs the images before. */
  | { codec: 'zlib'; sizeBytes: number }
)

/** What comes of an {@link ImageJob}: of `zlib` the bytes, of others a picture and the tables it leaves behind. */
export interface ImageJobResult {
  pixels?: Pixels | undefined
  bytes?: Uint8Array | undefined
  tables?: JpegTables | undefined
}

/**
 * Does jobs elsewhere. The bytes of a job hold only until it returns. What it resolves to is the caller's.
 *
 * @throws `ATP_SPICE_IMAGE`
 */
export type ImageDecoder = (job: ImageJob) => Promise<ImageJobResult>

/**
 * The job that an image of `SPICE_IMAGE_TYPE_*` is; undefined for types that are decoded sooner than sent elsewhere.
 *
 * @param reader of the message's body, just behind the descriptor.
 * @throws `ATP_SPICE_IMAGE`, `ATP_SPICE_PROTOCOL`
 */
export function imageJob({ type, width, height }: { type: number } & Size, reader: SpiceReader): ImageJob | undefined {
  const size = { width, height }
  switch (type) {
    case IMAGE_TYPE.quic:
      return { codec: 'quic', size, bytes: reader.bytes(reader.u32()) }
    case IMAGE_TYPE.jpeg:
      return { codec: 'jpeg', size, bytes: reader.bytes(reader.u32()) }
    case IMAGE_TYPE.jpegAlpha: {
      // The alpha's own header says which way it lies, as the flags do.
      reader.skip(1)
      const jpegBytes = reader.u32()
      const bytes = reader.bytes(reader.u32())
      if (jpegBytes > bytes.length) throw imageError('jpeg', `${jpegBytes} of ${bytes.length} bytes`)
      return { codec: 'jpegAlpha', size, jpegBytes, bytes }
    }
    case IMAGE_TYPE.zlibGlzRgb:
      return { codec: 'zlib', sizeBytes: reader.u32(), bytes: reader.bytes(reader.u32()) }
  }
  return undefined
}

/** Does a job here and now. @throws `ATP_SPICE_IMAGE` */
export function runImageJob(job: ImageJob): ImageJobResult {
  const { bytes } = job
  switch (job.codec) {
    case 'quic':
      return { pixels: decodeQuic(bytes, job.size) }
    case 'jpeg':
      return { pixels: decodeJpeg(bytes, job.size, job.tables), tables: job.tables }
    case 'jpegAlpha':
      return { pixels: decodeJpegAlpha(bytes.subarray(0, job.jpegBytes), bytes.subarray(job.jpegBytes), job.size) }
    case 'zlib':
      return { bytes: inflateGlz(bytes, job.sizeBytes) }
  }
}
