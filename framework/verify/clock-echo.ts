import { randomBytes } from 'node:crypto'
import { connectError, messageOf, withDeadline, type CallOptions } from '../core/index.ts'
import type { ClockPing } from './clock-offset.ts'
import type { ClockSource } from './clock.ts'
import { CLOCK_ANSWER, CLOCK_ANSWER_BYTES, CLOCK_QUESTION_BYTES, clockProgram, PORT_BUSY } from './clock-program.ts'

/** The virtio-serial port over which a guest tells its time. */
export const CLOCK_PORT = 'atp.clock.0'

/** A virtio-serial channel of the VM in both directions. */
export interface ClockChannel {
  start(sink: { onData(chunk: Uint8Array): void; onClose(error?: Error): void }): void
  write(bytes: Uint8Array): Promise<void>
  destroy(error?: Error): void
}

/** Where a program may be put and run; which of them differs from guest to guest. */
const FOLDERS = '/dev/shm /run /tmp /var/tmp'
/** Other sessions' answers may come first; not more of them than a port's buffers hold. */
const MAX_BUFFERED_BYTES = 64 * 1024
/** Longer than a program of a few instructions takes on the busiest machine; then something is wrong. */
const ANSWER_TIMEOUT_MS = 2000

/**
 * Lines of `sh` that start {@link clockProgram} at the port. They print nothing and never fail: without the program the
 * port stays silent. They need a function `free` that ends whoever holds the port it is given.
 *
 * The shell writes the program by itself. Where a process costs tens of milliseconds, as in an emulated guest, that leaves
 * `chmod` and the program.
 */
export function clockEchoScript(): string[] {
  const port = `/dev/virtio-ports/${CLOCK_PORT}`
  const file = `.atp-clock-${randomBytes(8).toString('hex')}`
  return [
    'tell_time() {',
    `printf '${printfFormat(clockProgram())}' >"$1" && chmod 700 "$1" || return 1`,
    `"$1" ${port} && return`,
    `[ $? = ${PORT_BUSY} ] && free ${port} && "$1" ${port}`,
    '}',
    `for folder in ${FOLDERS}; do`,
    `if tell_time $folder/${file}; then break; else rm -f $folder/${file}; fi`,
    'done </dev/null >/dev/null 2>&1',
  ]
}

/** What makes `printf` of any POSIX shell write these bytes. */
function printfFormat(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => {
    const character = String.fromCharCode(byte)
    return /[A-Za-z@]/.test(character) ? character : `\\${byte.toString(8).padStart(3, '0')}`
  }).join('')
}

interface Waiting {
  nonce: Buffer
  sentNs: bigint
  resolve(ping: ClockPing): void
  reject(error: Error): void
}

/**
 * The host's end of {@link clockProgram}: asks one question at a time. It owns the channel; the program in the guest ends
 * with it.
 */
export class ClockEcho implements ClockSource {
  readonly name = 'echo'
  readonly resolutionNs = 1n
  readonly #channel: ClockChannel
  /** Not a counter alone: what an earlier session asked may still be answered. */
  readonly #session = randomBytes(CLOCK_QUESTION_BYTES - 4)
  #asked = 0
  #last: Promise<unknown> = Promise.resolve()
  #waiting: Waiting | undefined
  #received: Buffer = Buffer.alloc(0)
  #closed: Error | undefined

  constructor(channel: ClockChannel) {
    this.#channel = channel
    channel.start({
      onData: (chunk) => this.#receive(chunk),
      onClose: (error) => this.#end(messageOf(error ?? 'closed')),
    })
  }

  /**
   * What the guest's clock shows, and how often it was set so far.
   *
   * @throws `ATP_CLOCK_ECHO` when the channel is closed, `ATP_TIMEOUT` after 2 s without an answer.
   */
  ping(options: CallOptions = {}): Promise<ClockPing> {
    const mine = this.#last.then(() => this.#ask(options))
    this.#last = mine.catch(() => {})
    return mine
  }

  close(): void {
    this.#end('closed')
    this.#channel.destroy()
  }

  async #ask(options: CallOptions): Promise<ClockPing> {
    if (this.#closed) throw this.#closed
    const nonce = Buffer.concat([this.#session, Buffer.alloc(4)])
    nonce.writeUInt32LE(this.#asked++ >>> 0, this.#session.length)
    this.#received = Buffer.alloc(0)
    try {
      return await withDeadline("the guest's clock", { timeoutMs: ANSWER_TIMEOUT_MS, ...options }, () => {
        const { promise, resolve, reject } = Promise.withResolvers<ClockPing>()
        this.#waiting = { nonce, sentNs: process.hrtime.bigint(), resolve, reject }
        this.#channel.write(nonce).catch((error: unknown) => this.#end(messageOf(error)))
        return promise
      })
    } finally {
      this.#waiting = undefined
    }
  }

  #receive(chunk: Uint8Array): void {
    const receivedNs = process.hrtime.bigint()
    const waiting = this.#waiting
    if (!waiting) return
    const bytes = Buffer.concat([this.#received, chunk]).subarray(-MAX_BUFFERED_BYTES)
    const at = bytes.indexOf(waiting.nonce)
    if (at < 0 || bytes.length < at + CLOCK_ANSWER_BYTES) {
      this.#received = at < 0 ? bytes.subarray(-CLOCK_QUESTION_BYTES) : bytes
      return
    }
    this.#waiting = undefined
    const answer = bytes.subarray(at)
    const seconds = answer.readBigInt64LE(CLOCK_ANSWER.seconds)
    waiting.resolve({
      sentNs: waiting.sentNs,
      guestNs: seconds * 1_000_000_000n + answer.readBigInt64LE(CLOCK_ANSWER.nanoseconds),
      receivedNs,
      settings: answer.readBigInt64LE(CLOCK_ANSWER.settings),
    })
  }

  #end(reason: string): void {
    this.#closed ??= connectError('ATP_CLOCK_ECHO', `the guest's clock cannot be asked over ${CLOCK_PORT}: ${reason}`)
    this.#waiting?.reject(this.#closed)
  }
}
