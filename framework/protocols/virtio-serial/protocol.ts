import { configError, type CallOptions } from '../../core/index.ts'
import { LengthPrefixFramer, LineFramer, RawFramer, type Framer } from '../framing.ts'
import type { Protocol, ProtocolBuilder, ProtocolTarget, ProtocolType } from '../protocol.ts'
import type { TranscriptRecorder } from '../transcript.ts'
import { VirtioSerialChannel } from './connection.ts'
import { channelClosedError } from './errors.ts'

/** `raw`: chunks as they come; `line`: newline at the end; `length`: big-endian u32 length first. Or one's own. */
type Framing = 'raw' | 'line' | 'length' | (() => Framer)

export interface VirtioSerialOptions {
  /** Default `line`. */
  framing?: Framing
  /** Longest message, bytes; for `line` and `length`. Default 16 MiB. */
  maxMessageBytes?: number
  /** Time limit of a call that names none, milliseconds. Default 30000. */
  timeoutMs?: number
  transcript?: TranscriptRecorder
}

function makeFramer(framing: Framing, maxMessageBytes?: number): Framer {
  if (typeof framing === 'function') return framing()
  if (framing === 'raw') return new RawFramer()
  return framing === 'line' ? new LineFramer(maxMessageBytes) : new LengthPrefixFramer(maxMessageBytes)
}

/**
 * Messages over one virtio-serial channel behind the common interface: what a message is, the framing says. A
 * protocol of one's own is this class with one's own framing and meaning.
 */
export class VirtioSerialProtocol implements Protocol {
  readonly type: ProtocolType
  readonly #name: string
  readonly #options: VirtioSerialOptions
  #channel: VirtioSerialChannel | undefined

  /** @param name of the channel, `org.example.port.0` */
  constructor(name: string, options: VirtioSerialOptions = {}) {
    this.type = `virtio-serial:${name}`
    this.#name = name
    this.#options = options
  }

  /** Does nothing when connected already. Rejects while another client holds the channel. */
  async connect(target: ProtocolTarget, options: CallOptions = {}): Promise<void> {
    if (this.isConnected()) return
    this.#channel = await openChannel(target, this.#name, this.#options, options)
  }

  async disconnect(): Promise<void> {
    this.#channel?.close()
    this.#channel = undefined
  }

  isConnected(): boolean {
    return this.#channel !== undefined && !this.#channel.closed
  }

  async send(message: Uint8Array, options?: CallOptions): Promise<void> {
    await this.#connected().send(message, options)
  }

  async receive(options?: CallOptions): Promise<Uint8Array> {
    return this.#connected().receive(options)
  }

  #connected(): VirtioSerialChannel {
    if (!this.#channel) throw channelClosedError(`channel ${this.#name}`)
    return this.#channel
  }
}

/** Opens a VM's channel and puts messages on it. */
export async function openChannel(
  target: Pick<ProtocolTarget, 'name' | 'openChannel'>,
  name: string,
  { framing = 'line', maxMessageBytes, timeoutMs, transcript }: VirtioSerialOptions = {},
  options: CallOptions = {},
): Promise<VirtioSerialChannel> {
  const framer = makeFramer(framing, maxMessageBytes)
  const stream = await target.openChannel(name, options)
  return new VirtioSerialChannel(stream, {
    framer,
    timeoutMs,
    transcript: transcript && { recorder: transcript, vm: target.name, protocol: `virtio-serial:${name}` },
  })
}

/** Builds protocols for every `virtio-serial:<name>`, or, given a name, for that one only. */
export class VirtioSerialProtocolBuilder implements ProtocolBuilder<VirtioSerialProtocol> {
  readonly type: ProtocolType
  readonly #options: VirtioSerialOptions

  constructor(options: VirtioSerialOptions & { name?: string } = {}) {
    this.type = options.name === undefined ? 'virtio-serial' : `virtio-serial:${options.name}`
    this.#options = options
  }

  /** @throws `ATP_VIRTIO_SERIAL_NAME` when the family's builder is not told which channel. */
  build(type: ProtocolType = this.type): VirtioSerialProtocol {
    const name = type.slice('virtio-serial:'.length)
    if (name === '') {
      throw configError('ATP_VIRTIO_SERIAL_NAME', `the protocol type "${type}" names no channel`, {
        remedy: 'write virtio-serial:<channel name>',
      })
    }
    return new VirtioSerialProtocol(name, this.#options)
  }
}
