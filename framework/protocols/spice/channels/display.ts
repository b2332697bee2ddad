import { SpiceChannel, type ChannelHost, type SpiceMessage } from '../channel.ts'
import { DISPLAY_CAP, DISPLAY_CLIENT, IMAGE_COMPRESSION } from '../wire/numbers.ts'
import { SpiceWriter } from '../wire/writer.ts'

export interface DisplayChannelOptions {
  /**
   * Bits of `DISPLAY_CAP`. Default: sized streams, monitors, composite, A8, LZ4, a preference for compressions, and
   * the choice of codecs with none chosen: a server sends no video then, and every change as a draw.
   */
  capabilities?: readonly number[]
  /** Room of the image cache. Default 40 MiB. */
  cacheBytes?: number
  /** Room of the GLZ dictionary, pixels. Default 4 Mi. */
  glzWindowPixels?: number
}

/** What {@link DisplayChannel} tells a server unless told otherwise. */
const DEFAULT_CAPABILITIES: readonly number[] = [
  DISPLAY_CAP.sizedStream,
  DISPLAY_CAP.monitorsConfig,
  DISPLAY_CAP.composite,
  DISPLAY_CAP.a8Surface,
  DISPLAY_CAP.lz4,
  DISPLAY_CAP.preferredCompression,
  DISPLAY_CAP.multiCodec,
]
/** A frame of 8192 × 8192 pixels, uncompressed. */
const MESSAGE_MAX_BYTES = 8192 * 8192 * 4 + 65_536
const CACHE_BYTES = 40 * 1024 * 1024
const GLZ_WINDOW_PIXELS = 4 * 1024 * 1024

/** Moves the messages of a display. The picture is made by whoever listens to {@link SpiceChannel.onMessage}. */
export class DisplayChannel extends SpiceChannel {
  readonly #options: DisplayChannelOptions

  constructor(host: ChannelHost, id = 0, options: DisplayChannelOptions = {}) {
    super(host, { type: 'display', id })
    this.#options = options
  }

  /** Asks the server to compress images in this way from now on. */
  async preferCompression(compression: keyof typeof IMAGE_COMPRESSION): Promise<void> {
    const body = new SpiceWriter(1).u8(IMAGE_COMPRESSION[compression]).finish()
    await this.send(DISPLAY_CLIENT.preferredCompression, body)
  }

  protected override get capabilities(): readonly number[] {
    return this.#options.capabilities ?? DEFAULT_CAPABILITIES
  }

  protected override get maxMessageBytes(): number {
    return MESSAGE_MAX_BYTES
  }

  protected override get lendsBodies(): boolean {
    return true
  }

  /** spice-server 0.15 dies when a display is closed between its link and its first message. */
  protected override get closesLate(): boolean {
    return true
  }

  /** `SpiceMsgcDisplayInit`. Without it QEMU's own screen dumps hang. */
  protected override get greeting(): SpiceMessage {
    const { cacheBytes = CACHE_BYTES, glzWindowPixels = GLZ_WINDOW_PIXELS } = this.#options
    const cacheId = this.id + 1
    // The server counts the cache in pixels (seen with 0.15.1), each of which takes four bytes here.
    const cachePixels = BigInt(Math.floor(cacheBytes / 4))
    const body = new SpiceWriter(14).u8(cacheId).i64(cachePixels).u8(cacheId).i32(glzWindowPixels).finish()
    return { type: DISPLAY_CLIENT.init, body }
  }
}
