import { spawn, type ChildProcess } from 'node:child_process'
import { closeSync, constants, openSync } from 'node:fs'
import { sleep, withDeadline, type CallOptions } from '../../../framework/core/deadline.ts'
import { connectError, messageOf } from '../../../framework/core/errors.ts'
import { MessageQueue, type VerifierTransport } from '../../core/index.ts'
import { lineFraming, type AgentMessage } from '../../protocol/index.ts'
import { BACKLOG_MAX_BYTES, lost } from './connection.ts'

/**
 * Waits until the host opens its side, says so with a line end, then copies what the host sends. Ends when its own
 * standard input does, so that it does not hold the port when the agent was killed.
 *
 * A write to a port sleeps until the host's side is open, while a read from one that is not ends at once (Linux,
 * `drivers/char/virtio_console.c`). The line end is the opening of the conversation.
 */
const READER = '(echo >&3 && echo && exec cat <&3) & exec >&- 3<&-; read line; kill $!'
/** How long the last messages have to be taken. */
const FLUSH_MS = 500
/** How long the programs of the connection before may take to let go of the port. */
const HELD_MS = 5000
const HELD_LOOK_MS = 20

/**
 * A virtio-serial port of the VM: one line a message. The port has one opener at a time, and no connections of its
 * own; it is connected while the host's side is open.
 *
 * Node cannot wait for a character device without holding one of its few threads for good, hence two `cat`s. They are
 * there before the host is.
 */
export class VirtioSerialTransport implements VerifierTransport {
  readonly #incoming = new MessageQueue()
  #reader: ChildProcess | undefined
  #writer: ChildProcess | undefined

  /** Waits until the host opens its side; it may take as long as it likes unless `timeoutMs` says otherwise. */
  async connect(path: string, options: CallOptions = {}): Promise<void> {
    try {
      await withDeadline(`waiting for the host at ${path}`, options, async (signal) => {
        await this.#start(await openFree(path, signal), signal)
      })
    } catch (error) {
      this.close()
      throw connectError('ATP_VERIFIER_CONNECT', `${path} cannot be used: ${messageOf(error)}`, {
        cause: error,
        remedy: 'the VM needs a <channel> of that name, the agent the right to open it, and nobody else may hold it',
      })
    }
  }

  send(message: AgentMessage): void {
    const line = lineFraming.encode(message)
    const stdin = this.#writer?.stdin
    if (!stdin?.writable) throw lost('it is over')
    if (stdin.writableLength > BACKLOG_MAX_BYTES) throw lost('the server does not read')
    stdin.write(line)
  }

  receive(): Promise<string | undefined> {
    return this.#incoming.next()
  }

  close(error?: Error): void {
    this.#end(error)
    const writer = this.#writer
    if (!writer) return
    // What was sent before still goes out, unless nobody reads it: the writer would hold the port for ever.
    if (!error) writer.stdin?.end()
    setTimeout(() => writer.kill('SIGKILL'), error ? 0 : FLUSH_MS).unref()
  }

  #end(error?: Error): void {
    this.#incoming.end(error)
    this.#reader?.stdin?.destroy()
  }

  /** Takes over the open port. Resolves once the host is there. */
  #start(port: number, signal: AbortSignal): Promise<void> {
    try {
      this.#reader = spawn('sh', ['-c', READER], { stdio: ['pipe', 'pipe', 'ignore', port] })
      this.#writer = spawn('cat', { stdio: ['pipe', port, 'ignore'] })
    } finally {
      closeSync(port)
    }
    this.#reader.on('error', (error) => this.close(lost(messageOf(error))))
    this.#writer.on('error', (error) => this.close(lost(messageOf(error))))
    this.#writer.on('close', () => this.close(lost('the port cannot be written to')))
    this.#reader.stdin?.on('error', () => {})
    this.#writer.stdin?.on('error', (error) => this.close(lost(messageOf(error))))
    return new Promise((resolve, reject) => {
      const decoder = lineFraming.decoder()
      let hostIsThere = false
      this.#reader?.stdout?.on('data', (chunk: Buffer) => {
        const said = hostIsThere ? chunk : chunk.subarray(1)
        hostIsThere = true
        resolve()
        try {
          for (const text of decoder.push(said)) this.#incoming.push(text)
        } catch (error) {
          this.close(error as Error)
        }
      })
      // The host closed its side: the port reads as at its end.
      this.#reader?.stdout?.on('end', () => {
        this.#end()
        this.#writer?.kill('SIGKILL')
        reject(lost('the port ended'))
      })
      signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
    })
  }
}

/** Opens the port, which may be held for another moment by what read it before. */
async function openFree(path: string, signal: AbortSignal): Promise<number> {
  const untilMs = performance.now() + HELD_MS
  for (;;) {
    try {
      return openSync(path, constants.O_RDWR)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EBUSY' || performance.now() > untilMs) throw error
    }
    await sleep(HELD_LOOK_MS, signal)
  }
}
