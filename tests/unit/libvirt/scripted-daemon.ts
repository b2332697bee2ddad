import { memoryPair } from '../../../framework/transport/index.ts'
import { LengthFramer, XdrReader, XdrWriter, type ByteStream } from '../../../framework/wire/index.ts'
import { beginFrame, finishFrame, readHeader, type FrameHeader } from '../../../framework/protocols/libvirt/codec.ts'
import { LibvirtClient, type Domain, type OpenOptions } from '../../../framework/protocols/libvirt/index.ts'
import { KEEPALIVE, PROGRAM, REMOTE, STATUS, TYPE } from '../../../framework/protocols/libvirt/protocol-numbers.ts'

export const VM: Domain = { name: '虚拟机', uuid: '01234567-89ab-cdef-0123-456789abcdef', id: 1 }

export interface Call extends FrameHeader {
  body: XdrReader
  /** The reply with this body, as bytes. */
  reply(write?: (writer: XdrWriter) => unknown): Buffer
  /** An error reply with this libvirt code, as bytes. */
  refuse(code: number, message?: string): Buffer
}

/** The daemon's side of a connection, in the hands of a test. Answers the opening calls by itself. */
export class ScriptedDaemon {
  readonly stream: ByteStream
  /** Calls nobody answered yet, in order. */
  readonly calls: Call[] = []
  readonly streamFrames: { serial: number; status: number; payload: Buffer }[] = []
  pings = 0
  pongs = 0
  answersPings = true
  ended = false
  /** What CONNECT_OPEN asked for. */
  opened: { name: string | undefined; flags: number } | undefined
  readonly #auth: number[]
  onCall: ((call: Call) => void) | undefined
  /** Answers before the daemon's own answers to the opening calls do; false leaves the call to them. */
  intercept: ((call: Call) => boolean) | undefined
  onStreamFrame: ((frame: { serial: number; status: number; payload: Buffer }) => void) | undefined

  constructor(stream: ByteStream, auth: number[] = [0]) {
    this.stream = stream
    this.#auth = auth
    const framer = new LengthFramer({ minBytes: 28, maxBytes: 40_000_000 }, (frame) =>
      this.#receive(Buffer.from(frame)),
    )
    stream.start({ onData: (chunk) => framer.push(chunk), onClose: () => (this.ended = true) })
  }

  /** A client connected to a scripted daemon. */
  static async open(options: Partial<OpenOptions> = {}): Promise<{ client: LibvirtClient; daemon: ScriptedDaemon }> {
    const [near, far] = memoryPair()
    const daemon = new ScriptedDaemon(far)
    const client = await LibvirtClient.open(near, { path: '/session', ...options })
    return { client, daemon }
  }

  send(...frames: Buffer[]): void {
    void this.stream.write(Buffer.concat(frames)).catch(() => {})
  }

  /** Waits until that many calls are unanswered. */
  async waitForCalls(count: number): Promise<Call[]> {
    while (this.calls.length < count) await new Promise((resolve) => setImmediate(resolve))
    return this.calls
  }

  #receive(frame: Buffer): void {
    const body = new XdrReader(frame)
    const header = readHeader(body)
    if (header.program === PROGRAM.KEEPALIVE) return this.#keepalive(header)
    if (header.type === TYPE.STREAM) {
      const received = { serial: header.serial, status: header.status, payload: Buffer.from(body.rest()) }
      this.streamFrames.push(received)
      return this.onStreamFrame?.(received)
    }
    const call: Call = {
      ...header,
      body,
      reply: (write) => replyFrame(header, STATUS.OK, write),
      refuse: (code, message = 'refused') =>
        replyFrame(header, STATUS.ERROR, (writer) => writeError(writer, code, message)),
    }
    if (this.intercept?.(call)) return
    if (header.program === PROGRAM.REMOTE) {
      if (header.procedure === REMOTE.AUTH_LIST) {
        return this.send(
          call.reply((writer) => this.#auth.reduce((list, kind) => list.i32(kind), writer.u32(this.#auth.length))),
        )
      }
      if (header.procedure === REMOTE.CONNECT_SUPPORTS_FEATURE) return this.send(call.reply((writer) => writer.i32(1)))
      if (header.procedure === REMOTE.CONNECT_OPEN) {
        this.opened = { name: body.optionalString(), flags: body.u32() }
        return this.send(call.reply())
      }
      if (header.procedure === REMOTE.CONNECT_CLOSE) return this.send(call.reply())
    }
    if (this.onCall) this.onCall(call)
    else this.calls.push(call)
  }

  #keepalive({ procedure }: FrameHeader): void {
    if (procedure === KEEPALIVE.PONG) this.pongs++
    else {
      this.pings++
      if (this.answersPings) this.send(message(PROGRAM.KEEPALIVE, KEEPALIVE.PONG))
    }
  }
}

export function replyFrame(
  { program, procedure, serial }: Pick<FrameHeader, 'program' | 'procedure' | 'serial'>,
  status: number,
  write?: (writer: XdrWriter) => unknown,
): Buffer {
  const writer = beginFrame(program, procedure, TYPE.REPLY, serial, status)
  write?.(writer)
  return finishFrame(writer)
}

/** A frame of type MESSAGE: events and keepalive. */
export function message(program: number, procedure: number, write?: (writer: XdrWriter) => unknown): Buffer {
  const writer = beginFrame(program, procedure, TYPE.MESSAGE, 0, STATUS.OK)
  write?.(writer)
  return finishFrame(writer)
}

export function writeVm(writer: XdrWriter, domain: Domain = VM): XdrWriter {
  return writer
    .string(domain.name)
    .opaque(Buffer.from(domain.uuid.replaceAll('-', ''), 'hex'))
    .i32(domain.id)
}

export function writeError(writer: XdrWriter, code: number, text: string): XdrWriter {
  writer.i32(code).i32(10).optionalString(text).i32(2)
  return writer.u32(0).u32(0).u32(0).u32(0).i32(0).i32(0).u32(0)
}
