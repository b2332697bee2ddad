import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

/** Bytes of memory written by one command: QEMU searches its whole input buffer for every piece that arrives. */
const WRITE_BYTES = 48 * 1024

/** Width of an access to an I/O port: `b` 8, `w` 16, `l` 32 bits. */
export type PortWidth = 'b' | 'w' | 'l'

interface Waiting {
  command: string
  resolve: (answer: string) => void
  reject: (error: Error) => void
}

/**
 * QEMU's qtest protocol: reads and writes ports and physical memory of a machine from outside, while its processor
 * sleeps. Answers come in the order of the commands.
 */
export class Qtest {
  readonly #socket: Socket
  readonly #waiting: Waiting[] = []
  #text = ''
  #closed: Error | undefined

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.setEncoding('latin1')
    socket.on('data', (text: string) => this.#received(text))
    socket.on('error', (error) => this.#ended(error))
    socket.on('close', () => this.#ended(new Error('QEMU closed the qtest socket')))
  }

  /** @param path a socket made with `-qtest unix:path,server=on,wait=off`. */
  static async connect(path: string): Promise<Qtest> {
    const socket = connect(path)
    await once(socket, 'connect')
    return new Qtest(socket)
  }

  close(): void {
    this.#socket.destroy()
  }

  async out(width: PortWidth, port: number, value: number): Promise<void> {
    await this.#command(`out${width} ${port} ${value >>> 0}`)
  }

  async in(width: PortWidth, port: number): Promise<number> {
    return Number(await this.#command(`in${width} ${port}`))
  }

  async write(address: number, bytes: Uint8Array): Promise<void> {
    const sent: Promise<string>[] = []
    for (let at = 0; at < bytes.length; at += WRITE_BYTES) {
      const part = Buffer.from(bytes.subarray(at, at + WRITE_BYTES))
      sent.push(this.#command(`b64write ${address + at} ${part.length} ${part.toString('base64')}`))
    }
    await Promise.all(sent)
  }

  async read(address: number, sizeBytes: number): Promise<Uint8Array> {
    return Buffer.from(await this.#command(`b64read ${address} ${sizeBytes}`), 'base64')
  }

  async readU32(address: number): Promise<number> {
    return Number(await this.#command(`readl ${address}`))
  }

  async writeU32(address: number, value: number): Promise<void> {
    await this.#command(`writel ${address} ${value >>> 0}`)
  }

  #command(command: string): Promise<string> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(this.#closed)
      this.#waiting.push({ command, resolve, reject })
      this.#socket.write(`${command}\n`)
    })
  }

  #received(text: string): void {
    const lines = (this.#text + text).split('\n')
    this.#text = lines.pop() as string
    for (const line of lines) {
      const { command, resolve, reject } = this.#waiting.shift() as Waiting
      if (line.startsWith('OK')) resolve(line.slice(3))
      else reject(new Error(`qtest ${command.slice(0, 60)}: ${line}`))
    }
  }

  #ended(error: Error): void {
    this.#closed ??= error
    for (const { reject } of this.#waiting.splice(0)) reject(this.#closed)
  }
}
