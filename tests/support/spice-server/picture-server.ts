import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { freePorts } from '../remote-host/free-ports.ts'
import { QxlDevice } from './qxl-device.ts'
import type { Picture } from './sample-pictures.ts'
import { SleepingQemu } from './sleeping-qemu.ts'

/** `image-compression` of QEMU's `-spice`. LZ4 is none of them: a client asks for it. */
export type ServerCompression = 'off' | 'auto_glz' | 'auto_lz' | 'quic' | 'glz' | 'lz'

export interface PictureServerOptions {
  compression: ServerCompression
  /** `streaming-video` of QEMU's `-spice`. Default off: nothing but draws. */
  streaming?: 'off' | 'all' | 'filter'
  /** What the server may choose for clients on slow networks: JPEG, and GLZ packed once more. Default: nothing. */
  forSlowNetworks?: 'jpeg' | 'zlib-glz'
  /** Monitors that the card may have. Default 1. */
  monitors?: number
  /** More arguments for QEMU. */
  qemuArguments?: readonly string[]
}

const SERIAL_PORT = 0x3f8

/**
 * A real SPICE console over TCP on 127.0.0.1, without a ticket, on whose screen is what the test draws with
 * {@link card}.
 */
export class PictureServer {
  readonly port: number
  readonly card: QxlDevice
  readonly #qemu: SleepingQemu

  private constructor(port: number, card: QxlDevice, qemu: SleepingQemu) {
    this.port = port
    this.card = card
    this.#qemu = qemu
  }

  static async start(options: PictureServerOptions): Promise<PictureServer> {
    const { compression, streaming = 'off', forSlowNetworks, monitors = 1, qemuArguments = [] } = options
    // By default none: a busy machine looks like a slow network, and JPEG does not show what QEMU has.
    const slow = (['jpeg', 'zlib-glz'] as const).map(
      (name) => `${name}-wan-compression=${name === forSlowNetworks ? 'always' : 'never'}`,
    )
    const [port] = (await freePorts(1)) as [number]
    const qemu = await SleepingQemu.start([
      '-device',
      `qxl-vga,ram_size_mb=128,vram_size_mb=16,vgamem_mb=32,max_outputs=${monitors}`,
      '-spice',
      [
        `port=${port},addr=127.0.0.1,disable-ticketing=on`,
        `image-compression=${compression},streaming-video=${streaming}`,
        ...slow,
      ].join(','),
      ...qemuArguments,
    ])
    try {
      return new PictureServer(port, await QxlDevice.open(qemu.qtest), qemu)
    } catch (error) {
      await qemu[Symbol.asyncDispose]()
      throw error
    }
  }

  /** A second card, for which the arguments have a device of type `qxl`. */
  async secondCard(): Promise<QxlDevice> {
    return await QxlDevice.open(this.#qemu.qtest, 1)
  }

  /** Says something through the machine's first serial port. */
  async say(bytes: Uint8Array): Promise<void> {
    for (const byte of bytes) await this.#qemu.qtest.out('b', SERIAL_PORT, byte)
  }

  /** The screen as QEMU has it, opaque. @param device id of the card. Default: the first. */
  async screendump(device?: string): Promise<Picture> {
    const filename = join(this.#qemu.folder, 'screen.ppm')
    await this.#qemu.qmp.execute('screendump', { filename, ...(device && { device }) })
    return readPpm(await readFile(filename))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#qemu[Symbol.asyncDispose]()
  }
}

/** A binary PPM with 255 shades, as QEMU writes them. */
function readPpm(bytes: Uint8Array): Picture {
  const header = /^P6\n(\d+) (\d+)\n255\n/.exec(Buffer.from(bytes.subarray(0, 64)).toString('latin1'))
  if (!header) throw new Error('the screen dump is no PPM')
  const [width, height] = [Number(header[1]), Number(header[2])]
  const data = new Uint32Array(width * height)
  for (let index = 0, at = header[0].length; index < data.length; index++, at += 3) {
    const [red, green, blue] = [bytes[at] as number, bytes[at + 1] as number, bytes[at + 2] as number]
    data[index] = (0xff000000 | (red << 16) | (green << 8) | blue) >>> 0
  }
  return { width, height, data }
}
