import { createHash } from 'node:crypto'
import { remoteError, withDeadline, type CallOptions } from '../../core/index.ts'
import { VirtioSerialChannel } from './connection.ts'
import { guestPortPath } from './discovery.ts'
import { responderError } from './errors.ts'
import { BLOCK_BYTES, RESPONDER_SCRIPT } from './guest-script.ts'

/** What the responder needs: a raw channel, and a way to start a program in the guest without waiting for it. */
export interface ResponderGuest {
  openChannel(name: string, options?: CallOptions): Promise<VirtioSerialChannel>
  start(path: string, args: string[], options?: CallOptions): Promise<unknown>
}

export interface RunResult {
  exitCode: number
  /** stdout and stderr together, in the order written. */
  output: Uint8Array
}

const LONGEST_LINE_BYTES = 4096
const MAX_CONTENT_BYTES = 64 * 1024 * 1024
const TIMEOUT_MS = 60_000

/**
 * Commands and files over a virtio-serial channel of one's own, without the guest agent once it is started: the
 * worked example of a protocol over such a channel. Requests are carried out one after the other.
 *
 * A request that fails half-way leaves the two sides out of step; the channel is closed then.
 */
export class GuestResponder {
  readonly #channel: VirtioSerialChannel
  #unread: Uint8Array = new Uint8Array(0)
  #last: Promise<unknown> = Promise.resolve()

  private constructor(channel: VirtioSerialChannel) {
    this.#channel = channel
  }

  /**
   * Opens the channel, starts the guest's side (a POSIX shell script, see `guest-script.ts`) and waits for its
   * greeting. Default limit 60 s.
   *
   * @throws `ATP_VIRTIO_SERIAL_RESPONDER` when something else answers; what `guest` throws.
   */
  static async start(guest: ResponderGuest, name: string, options: CallOptions = {}): Promise<GuestResponder> {
    const bounds = { timeoutMs: TIMEOUT_MS, ...options }
    // First the host's side: a guest that opens the port earlier reads its end.
    const channel = await guest.openChannel(name, bounds)
    try {
      const responder = new GuestResponder(channel)
      await withDeadline(`the responder on ${channel.peer}`, bounds, async (signal) => {
        await guest.start('/bin/sh', ['-c', RESPONDER_SCRIPT, 'responder', guestPortPath(name)], { signal })
        await responder.#expect('ready', signal)
      })
      return responder
    } catch (error) {
      channel.close(error)
      throw error
    }
  }

  /** Runs a shell script in the guest. A non-zero exit is a result, not an error. Default limit 60 s. */
  run(script: string, options?: CallOptions): Promise<RunResult> {
    return this.#request('run', options, async (signal) => {
      const bytes = Buffer.from(script)
      await this.#sendContent(`run ${bytes.byteLength}`, bytes, signal)
      const [, code, size] = await this.#answer(/^exit (\d+) (\d+)$/, signal)
      return { exitCode: Number(code), output: await this.#content(Number(size), signal) }
    })
  }

  /** Writes a file of the guest, whole or not at all. Default limit 60 s. @throws `ATP_VIRTIO_SERIAL_REFUSED` */
  put(path: string, content: Uint8Array, options?: CallOptions): Promise<void> {
    return this.#request('put', options, async (signal) => {
      await this.#sendContent(`put ${content.byteLength} ${sha256(content)} ${base64(path)}`, content, signal)
      await this.#answer(/^done$/, signal)
    })
  }

  /** Reads a file of the guest and compares its checksum. Default limit 60 s. @throws `ATP_VIRTIO_SERIAL_REFUSED` */
  get(path: string, options?: CallOptions): Promise<Uint8Array> {
    return this.#request('get', options, async (signal) => {
      await this.#sendLine(`get ${base64(path)}`, signal)
      const [, size, sum] = await this.#answer(/^file (\d+) ([0-9a-f]{64})$/, signal)
      const content = await this.#content(Number(size), signal)
      if (sha256(content) !== sum) throw responderError(this.#channel.peer, `sent ${path} with a wrong checksum`)
      return content
    })
  }

  /** Closes the channel; the guest's side ends by itself. Idempotent. */
  close(): void {
    this.#channel.close()
  }

  /** In turn and within its time. Only a refusal leaves both sides in step. */
  #request<T>(what: string, options: CallOptions = {}, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const turn = this.#last.then(async () => {
      try {
        return await withDeadline(`${what} on ${this.#channel.peer}`, { timeoutMs: TIMEOUT_MS, ...options }, work)
      } catch (error) {
        if (!(error instanceof Refusal)) this.#channel.close(error)
        throw error instanceof Refusal ? this.#refused(what, error.reason) : error
      }
    })
    this.#last = turn.catch(() => {})
    return turn
  }

  #refused(what: string, reason: string): Error {
    return remoteError('ATP_VIRTIO_SERIAL_REFUSED', `${this.#channel.peer}: ${what} failed in the guest: ${reason}`, {
      context: { peer: this.#channel.peer, request: what, reason },
    })
  }

  async #sendContent(line: string, content: Uint8Array, signal: AbortSignal): Promise<void> {
    await this.#sendLine(line, signal)
    await this.#expect('ok', signal)
    for (let at = 0; at < content.byteLength; at += BLOCK_BYTES) {
      await this.#channel.send(content.subarray(at, at + BLOCK_BYTES), { signal })
      await this.#expect('ok', signal)
    }
  }

  async #sendLine(line: string, signal: AbortSignal): Promise<void> {
    const bytes = Buffer.from(`${line}\n`)
    if (bytes.byteLength > LONGEST_LINE_BYTES) throw new Refusal('the path is too long')
    await this.#channel.send(bytes, { signal })
  }

  async #expect(word: string, signal: AbortSignal): Promise<void> {
    const line = await this.#line(signal)
    if (line !== word) throw responderError(this.#channel.peer, `said "${line}" instead of "${word}"`)
  }

  async #answer(form: RegExp, signal: AbortSignal): Promise<RegExpExecArray> {
    const line = await this.#line(signal)
    if (line.startsWith('fail ')) throw new Refusal(line.slice('fail '.length).trim())
    const match = form.exec(line)
    if (!match) throw responderError(this.#channel.peer, `answered "${line}"`)
    return match
  }

  async #line(signal: AbortSignal): Promise<string> {
    for (;;) {
      const end = this.#unread.indexOf(0x0a)
      if (end >= 0) {
        const line = Buffer.from(this.#unread.subarray(0, end)).toString('utf8')
        this.#unread = this.#unread.subarray(end + 1)
        return line
      }
      if (this.#unread.byteLength > LONGEST_LINE_BYTES) throw responderError(this.#channel.peer, 'sent an endless line')
      this.#unread = Buffer.concat([this.#unread, await this.#channel.receive({ signal })])
    }
  }

  async #content(sizeBytes: number, signal: AbortSignal): Promise<Uint8Array> {
    if (sizeBytes > MAX_CONTENT_BYTES) throw responderError(this.#channel.peer, `announced ${sizeBytes} bytes`)
    const chunks = [this.#unread]
    let arrived = this.#unread.byteLength
    while (arrived < sizeBytes) {
      const chunk = await this.#channel.receive({ signal })
      chunks.push(chunk)
      arrived += chunk.byteLength
    }
    const all = Buffer.concat(chunks)
    this.#unread = all.subarray(sizeBytes)
    return all.subarray(0, sizeBytes)
  }
}

/** The guest's side answered `fail`; both sides are still in step. */
class Refusal extends Error {
  readonly reason: string
  constructor(reason: string) {
    super(reason)
    this.reason = reason
  }
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64')
}
