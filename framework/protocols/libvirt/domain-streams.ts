import { isAtpError, messageOf, protocolError, remoteError, withDeadline, type CallOptions } from '../../core/index.ts'
import type { ByteStream } from '../../wire/index.ts'
import { RpcStream, type ChannelStream, type ChannelStreamOptions } from './channel-stream.ts'
import { writeDomain, type Domain } from './codec.ts'
import type { CallSpec, RpcConnection } from './connection.ts'
import { monitorLane } from './lanes.ts'
import { LIBVIRT_ERROR, PROGRAM, REMOTE } from './protocol-numbers.ts'

export interface OpenChannelOptions extends CallOptions, ChannelStreamOptions {
  /** Take the channel away from whoever holds it. May crash old daemons: never for automatic recovery. */
  force?: boolean
}

const DEVICE = { channel: REMOTE.DOMAIN_OPEN_CHANNEL, console: REMOTE.DOMAIN_OPEN_CONSOLE } as const

const OPEN_TIMEOUT_MS = 60_000
const SCREENSHOT_TIMEOUT_MS = 60_000
const SCREENSHOT_MAX_BYTES = 256 * 1024 * 1024

/** The streams of a connection's domains: channels and consoles that stay, screenshots that end by themselves. */
export class DomainStreams {
  readonly #connection: RpcConnection
  /** The last stream opened on each device, until the daemon has let go of it. */
  readonly #held = new Map<string, RpcStream>()

  constructor(connection: RpcConnection) {
    this.#connection = connection
  }

  /** @throws `ATP_LIBVIRT_CHANNEL_BUSY` while somebody holds the device. */
  async open(
    device: keyof typeof DEVICE,
    domain: Domain,
    name: string | undefined,
    options: OpenChannelOptions = {},
  ): Promise<ChannelStream> {
    const procedure = DEVICE[device]
    const peer = `${device} ${name ?? '(the first)'} of "${domain.name}"`
    const key = `${device}/${domain.uuid}/${name ?? ''}`
    await this.#released(key, peer, options)
    const { spec, stream } = this.#spec(`opening ${peer}`, procedure, peer, options)
    try {
      await this.#connection.call<void>(
        {
          ...spec,
          bound: true,
          encode: (writer) =>
            writeDomain(writer, domain)
              .optionalString(name)
              .u32(options.force ? 1 : 0),
          decode: () => {},
        },
        options,
      )
    } catch (error) {
      // The only reason for this code here is that the device is in use.
      const code = isAtpError(error) ? error.context['libvirtCode'] : undefined
      throw code === LIBVIRT_ERROR.OPERATION_FAILED ? busyError(peer, error) : error
    }
    const opened = stream()
    this.#held.set(key, opened)
    void opened.released.then(() => {
      if (this.#held.get(key) === opened) this.#held.delete(key)
    })
    return opened
  }

  /** Our own earlier stream of this device may be on its way out still. */
  async #released(key: string, peer: string, { signal, timeoutMs = OPEN_TIMEOUT_MS }: CallOptions): Promise<void> {
    const previous = this.#held.get(key)
    if (!previous?.isOver) return
    try {
      await withDeadline(`waiting for the earlier ${peer}`, { signal, timeoutMs }, () => previous.released)
    } catch (error) {
      throw isAtpError(error, 'ATP_TIMEOUT') ? busyError(peer, error) : error
    }
  }

  async screenshot(domain: Domain, options: CallOptions = {}): Promise<{ contentType: string; bytes: Uint8Array }> {
    const what = `taking a screenshot of "${domain.name}"`
    return withDeadline(what, { timeoutMs: SCREENSHOT_TIMEOUT_MS, ...options }, async (signal) => {
      const { spec, stream } = this.#spec(what, REMOTE.DOMAIN_SCREENSHOT, `the screen of "${domain.name}"`)
      const contentType = await this.#connection.call<string | undefined>(
        {
          ...spec,
          ...monitorLane(domain),
          encode: (writer) => writeDomain(writer, domain).u32(0).u32(0),
          decode: (reader) => reader.optionalString(),
        },
        { signal, timeoutMs: Infinity },
      )
      const bytes = await collect(stream(), SCREENSHOT_MAX_BYTES, signal)
      if (contentType === undefined) {
        throw protocolError('ATP_LIBVIRT_PROTOCOL', `${what}: the daemon named no image format`)
      }
      return { contentType, bytes }
    })
  }

  /** What the calls that open a stream have in common; `stream` gives the stream once the call succeeded. */
  #spec(
    what: string,
    procedure: number,
    peer: string,
    options?: ChannelStreamOptions,
  ): {
    spec: Pick<CallSpec<unknown>, 'what' | 'program' | 'procedure' | 'onLate' | 'stream'>
    stream: () => RpcStream
  } {
    const program = PROGRAM.REMOTE
    let stream: RpcStream | undefined
    return {
      spec: {
        what,
        program,
        procedure,
        onLate: () => stream?.destroy(),
        stream: (connection, serial) =>
          (stream = new RpcStream(connection, { program, procedure, serial, peer }, options)),
      },
      stream: () => stream as RpcStream,
    }
  }
}

function busyError(peer: string, cause: unknown): Error {
  return remoteError('ATP_LIBVIRT_CHANNEL_BUSY', `${peer} is in use: ${messageOf(cause)}`, {
    cause,
    retryable: true,
    remedy: 'another client holds it; close that one first',
  })
}

/** Everything a stream delivers until its clean end. */
function collect(stream: ByteStream, maxBytes: number, signal: AbortSignal): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const chunks: Uint8Array[] = []
    let sizeBytes = 0
    const onAbort = () => stream.destroy(signal.reason as Error)
    signal.addEventListener('abort', onAbort, { once: true })
    if (signal.aborted) onAbort()
    stream.start({
      onData: (chunk) => {
        sizeBytes += chunk.length
        if (sizeBytes > maxBytes) {
          stream.destroy(protocolError('ATP_LIBVIRT_PROTOCOL', `${stream.peer} has more than ${maxBytes} bytes`))
        } else chunks.push(chunk)
      },
      onClose: (error) => {
        signal.removeEventListener('abort', onAbort)
        if (error) reject(error)
        else resolve(Buffer.concat(chunks, sizeBytes))
      },
    })
  })
}
