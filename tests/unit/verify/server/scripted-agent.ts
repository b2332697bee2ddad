import { connect, type Socket } from 'node:net'
import { WebSocket } from 'ws'
import { lengthFraming, lineFraming, type FrameDecoder } from '../../../../guest/protocol/index.ts'
import type { ByteStream } from '../../../../framework/wire/byte-stream.ts'

type Message = Record<string, unknown>

/** The far end of a connection, moved by hand: sends what a test says and keeps what it is sent. */
export class ScriptedAgent {
  readonly received: Message[] = []
  /** Settles when the connection is over. */
  readonly ended: Promise<void>
  readonly #write: (message: Message | string) => void
  readonly #destroy: () => void
  #wake = () => {}

  private constructor(
    write: (message: Message | string) => void,
    destroy: () => void,
    begin: (onText: (text: string) => void, onEnd: () => void) => void,
  ) {
    this.#write = write
    this.#destroy = destroy
    this.ended = new Promise((resolve) =>
      begin((text) => {
        this.received.push(JSON.parse(text) as Message)
        this.#wake()
      }, resolve),
    )
  }

  static onPort(stream: ByteStream): ScriptedAgent {
    const decoder = lineFraming.decoder()
    const encoder = new TextEncoder()
    const write = (message: Message | string) => {
      const text = typeof message === 'string' ? message : JSON.stringify(message)
      stream.write(encoder.encode(`${text}\n`)).catch(() => {})
    }
    return new ScriptedAgent(
      write,
      () => stream.destroy(),
      (onText, onEnd) => {
        stream.start({ onData: (chunk) => decoder.push(chunk).forEach(onText), onClose: onEnd })
        write('')
      },
    )
  }

  static onSocket(url: string): ScriptedAgent {
    const socket = url.startsWith('unix:')
      ? connect(url.slice('unix:'.length))
      : connect(Number(new URL(url).port), new URL(url).hostname)
    return ScriptedAgent.onConnected(socket)
  }

  static onConnected(socket: Socket): ScriptedAgent {
    const decoder: FrameDecoder = lengthFraming.decoder()
    return new ScriptedAgent(
      (message) => {
        if (typeof message !== 'string') return void socket.write(lengthFraming.encode(message as never))
        const bytes = Buffer.from(message)
        const length = Buffer.alloc(4)
        length.writeUInt32BE(bytes.length)
        socket.write(Buffer.concat([length, bytes]))
      },
      () => socket.destroy(),
      (onText, onEnd) => {
        socket.on('data', (chunk) => decoder.push(chunk as Buffer).forEach(onText))
        socket.on('error', () => {})
        socket.on('close', onEnd)
      },
    )
  }

  static async onWebSocket(url: string, headers: Record<string, string> = {}): Promise<ScriptedAgent> {
    const socket = new WebSocket(url, { headers })
    await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject))
    return new ScriptedAgent(
      (message) => socket.send(typeof message === 'string' ? message : JSON.stringify(message)),
      () => socket.terminate(),
      (onText, onEnd) => {
        socket.on('message', (data) => onText(String(data)))
        socket.on('error', () => {})
        socket.on('close', onEnd)
      },
    )
  }

  send(message: Message | string): this {
    this.#write(message)
    return this
  }

  hello(more: Message = {}): this {
    return this.send({
      v: 1,
      type: 'hello',
      vm_id: 'vm-001',
      session: 'session-1',
      verifiers: ['keyboard', 'mouse', 'command'],
      agent: { version: '0', platform: 'linux' },
      level: 'kernel',
      reads_clock: true,
      ...more,
    })
  }

  /** The next message that fits, also one that has come already; each is handed out once. */
  async next(fits: (message: Message) => boolean): Promise<Message> {
    for (;;) {
      const index = this.received.findIndex(fits)
      if (index >= 0) return this.received.splice(index, 1)[0] as Message
      await new Promise<void>((resolve) => (this.#wake = resolve))
    }
  }

  nextOf(type: string): Promise<Message> {
    return this.next((message) => message['type'] === type)
  }

  destroy(): void {
    this.#destroy()
  }
}
