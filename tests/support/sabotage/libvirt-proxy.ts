import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { XdrReader, XdrWriter } from '../../../framework/wire/index.ts'

// libvirt's RPC protocol: a frame is its length, six numbers, and a body.
const HEADER_BYTES = 28
const REMOTE_PROGRAM = 0x2000_8086
const QEMU_PROGRAM = 0x2000_8087
const OPEN_CHANNEL = 296
const MONITOR_COMMAND = 1
const CALL = 0
const STREAM = 3
const UUID_BYTES = 16

/** One event of QMP's `input-send-event`. */
export interface QmpInputEvent {
  type: string
  data: { key?: { data: string }; down?: boolean; axis?: string; value?: number; button?: string }
}

/** What a proxy does; what is absent passes as it is. */
export interface Meddling {
  /** What becomes of input on its way to the hypervisor. Later frames wait until it resolves. */
  input?(events: QmpInputEvent[]): QmpInputEvent[] | Promise<QmpInputEvent[]>
  /** What becomes of an observation channel's bytes on their way back. */
  observation?(bytes: Buffer): Buffer | Promise<Buffer>
  /** What becomes of a verifier agent's message on its way back, one line without its end. */
  verifier?(line: string): readonly string[] | Promise<readonly string[]>
  /** Whose channels are opened when somebody asks for an observation channel: a UUID. */
  channelsOf?: string
}

/** A channel of a VM, known by the serial of the call that opened it: its data come under the same. */
interface OpenedChannel {
  carries: 'observation' | 'verifier'
  /** A line that has not come to its end, byte by byte. */
  rest: string
}

/** A link to a libvirt daemon that edits what it carries. It knows the frames by themselves, not through a client. */
export class LibvirtProxy implements AsyncDisposable {
  readonly #path: string
  readonly #server
  readonly #sockets = new Set<Socket>()
  meddling: Meddling = {}

  private constructor(path: string, target: string) {
    this.#path = path
    this.#server = createServer((near) => this.#join(near, connect(target)))
  }

  static async start(path: string, target: string): Promise<LibvirtProxy> {
    const proxy = new LibvirtProxy(path, target)
    proxy.#server.listen(path)
    await once(proxy.#server, 'listening')
    return proxy
  }

  get uri(): string {
    return `qemu+unix:///session?socket=${encodeURI(this.#path)}`
  }

  /** Ends all connections. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut()
    await new Promise<void>((resolve) => this.#server.close(() => resolve()))
  }

  #join(near: Socket, far: Socket): void {
    const channels = new Map<number, OpenedChannel>()
    this.#carry(near, far, (frame) => this.#request(frame, channels))
    this.#carry(far, near, (frame) => this.#answer(frame, channels))
  }

  #carry(from: Socket, to: Socket, edit: (frame: Buffer) => Buffer | Promise<Buffer>): void {
    this.#sockets.add(from)
    let rest: Buffer = Buffer.alloc(0)
    let last: Promise<unknown> = Promise.resolve()
    from.on('data', (chunk) => {
      rest = Buffer.concat([rest, chunk])
      while (rest.length >= 4 && rest.length >= rest.readUInt32BE(0)) {
        const frame = rest.subarray(0, rest.readUInt32BE(0))
        rest = rest.subarray(frame.length)
        last = last.then(async () => to.writable && to.write(await edit(frame)))
      }
    })
    from.on('error', () => to.destroy())
    from.on('close', () => {
      this.#sockets.delete(from)
      to.destroy()
    })
  }

  #request(frame: Buffer, channels: Map<number, OpenedChannel>): Buffer | Promise<Buffer> {
    const { program, procedure, type, serial } = headerOf(frame)
    if (type !== CALL) return frame
    const body = new XdrReader(frame.subarray(HEADER_BYTES))
    if (program === REMOTE_PROGRAM && procedure === OPEN_CHANNEL) {
      const name = body.string()
      const uuidAt = HEADER_BYTES + 4 + Math.ceil(Buffer.byteLength(name) / 4) * 4
      if (frame.includes('atp.verifier.')) channels.set(serial, { carries: 'verifier', rest: '' })
      if (!frame.includes('atp.evdev.')) return frame
      channels.set(serial, { carries: 'observation', rest: '' })
      if (this.meddling.channelsOf === undefined) return frame
      const edited = Buffer.from(frame)
      edited.set(Buffer.from(this.meddling.channelsOf.replaceAll('-', ''), 'hex'), uuidAt)
      return edited
    }
    if (program !== QEMU_PROGRAM || procedure !== MONITOR_COMMAND || !this.meddling.input) return frame
    return this.#editCommand(frame, body, this.meddling.input)
  }

  async #editCommand(frame: Buffer, body: XdrReader, edit: NonNullable<Meddling['input']>): Promise<Buffer> {
    const name = body.string()
    const uuid = body.opaque(UUID_BYTES)
    const id = body.i32()
    const command = JSON.parse(body.string()) as {
      execute: string
      arguments?: { events?: QmpInputEvent[] }
    }
    if (command.execute !== 'input-send-event' || !command.arguments?.events) return frame
    command.arguments.events = await edit(command.arguments.events)
    const writer = new XdrWriter().string(name).opaque(uuid).i32(id).string(JSON.stringify(command))
    return framed(frame, writer.opaque(body.rest()).finish())
  }

  async #answer(frame: Buffer, channels: Map<number, OpenedChannel>): Promise<Buffer> {
    const { procedure, type, serial } = headerOf(frame)
    const isData = type === STREAM && procedure === OPEN_CHANNEL && frame.length > HEADER_BYTES
    const channel = isData ? channels.get(serial) : undefined
    if (!channel) return frame
    const edited = await this.#editData(channel, frame.subarray(HEADER_BYTES))
    // A frame without data would end the stream.
    return edited.length > 0 ? framed(frame, edited) : edited
  }

  async #editData(channel: OpenedChannel, bytes: Buffer): Promise<Buffer> {
    const { observation, verifier } = this.meddling
    if (channel.carries === 'observation') return observation ? observation(bytes) : bytes
    const lines = (channel.rest + bytes.toString('latin1')).split('\n')
    channel.rest = lines.pop() ?? ''
    const edited: string[] = []
    for (const line of lines) {
      const said = Buffer.from(line, 'latin1').toString('utf8')
      edited.push(...(verifier ? await verifier(said) : [said]))
    }
    return Buffer.from(edited.map((line) => `${line}\n`).join(''))
  }
}

function headerOf(frame: Buffer) {
  return {
    program: frame.readUInt32BE(4),
    procedure: frame.readInt32BE(12),
    type: frame.readUInt32BE(16),
    serial: frame.readUInt32BE(20),
  }
}

/** A frame with another body. */
function framed(like: Buffer, body: Uint8Array): Buffer {
  const frame = Buffer.concat([like.subarray(0, HEADER_BYTES), body])
  frame.writeUInt32BE(frame.length, 0)
  return frame
}
