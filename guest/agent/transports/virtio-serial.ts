import { spawn, type ChildProcess } from 'node:child_process'
import { closeSync, constants, openSync, readSync } from 'node:fs'
import { sleep, withDeadline, type CallOptions } from '../../../framework/core/deadline.ts'
import { connectError, messageOf } from '../../../framework/core/errors.ts'
import { MessageQueue, type VerifierTransport } from '../../core/index.ts'
import { lineFraming, OPENING, type AgentMessage } from '../../protocol/index.ts'
import { BACKLOG_MAX_BYTES, lost } from './connection.ts'

/** Ends when its own standard input does, so that it does not hold the port when the agent was killed. */
const READER = 'cat <&3 & exec >&- 3<&-; read line; kill $!'
/** How long the last messages have to be taken. */
const FLUSH_MS = 500
/** How often a port that nobody has opened on the host is looked at. */
const LOOK_MS = 100
/** How long the `cat`s of the connection before may take to let go of the port. */
const HELD_MS = 5000

/**
 * A virtio-serial port of the VM: one line a message. The port has one opener at a time, and no connections of its
 * own; it is connected while the host's side is open.
 *
 * Node cannot wait for a character device without holding one of its few threads for good, hence two `cat`s.
 */
export class VirtioSerialTransport implements VerifierTransport {
  readonly #incoming = new MessageQueue()
  #reader: ChildProcess | undefined
  #writer: ChildProcess | undefined
  #greeted = false

  /** Waits until the host opens its side; it may take as long as it likes unless `timeoutMs` says otherwise. */
  async connect(path: string, options: CallOptions = {}): Promise<void> {
    try {
      await withDeadline(`waiting for the host at ${path}`, options, (signal) => hostIsThere(path, signal))
      this.#start(path)
    } catch (error) {
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
    if (!this.#greeted) stdin.write(OPENING)
    this.#greeted = true
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

  #start(path: string): void {
    const port = openSync(path, constants.O_RDWR)
    try {
      this.#reader = spawn('sh', ['-c', READER], { stdio: ['pipe', 'pipe', 'ignore', port] })
      this.#writer = spawn('cat', { stdio: ['pipe', port, 'ignore'] })
    } finally {
      closeSync(port)
    }
    const decoder = lineFraming.decoder()
    this.#reader.stdout?.on('data', (chunk: Buffer) => {
      try {
        for (const text of decoder.push(chunk)) this.#incoming.push(text)
      } catch (error) {
        this.close(error as Error)
      }
    })
    // The host closed its side: the port reads as at its end.
    this.#reader.stdout?.on('end', () => {
      this.#end()
      this.#writer?.kill('SIGKILL')
    })
    this.#reader.on('error', (error) => this.close(lost(messageOf(error))))
    this.#writer.on('error', (error) => this.close(lost(messageOf(error))))
    this.#writer.on('close', () => this.close(lost('the port cannot be written to')))
    this.#reader.stdin?.on('error', () => {})
    this.#writer.stdin?.on('error', (error) => this.close(lost(messageOf(error))))
  }
}

/** Resolves when the host has its side open: until then the port reads as at its end instead of as empty. */
async function hostIsThere(path: string, signal: AbortSignal): Promise<void> {
  const port = await openFree(path, signal)
  try {
    while (readSync(port, new Uint8Array(1)) === 0) await sleep(LOOK_MS, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
  } finally {
    closeSync(port)
  }
}

async function openFree(path: string, signal: AbortSignal): Promise<number> {
  const untilMs = performance.now() + HELD_MS
  for (;;) {
    try {
      return openSync(path, constants.O_RDWR | constants.O_NONBLOCK)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EBUSY' || performance.now() > untilMs) throw error
    }
    await sleep(LOOK_MS, signal)
  }
}
