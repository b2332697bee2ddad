import { remoteError, sleep, timeoutError, type CallOptions } from '../../../framework/core/index.ts'

type Args = Record<string, unknown>
type Answer = (args: Args, options: CallOptions) => unknown

/** The agent refuses: libvirt turns that into its own error. */
export class Refusal extends Error {}

/** libvirt's error of this number instead of an answer. */
export class LibvirtFailure extends Error {
  readonly libvirtCode: number
  constructor(libvirtCode: number) {
    super(`libvirt error ${libvirtCode}`)
    this.libvirtCode = libvirtCode
  }
}

/** A guest agent in memory, behind the same door as libvirt's: files, processes, and what a test scripts. */
export class ScriptedAgent {
  readonly name = 'vm-001'
  readonly commands: { execute: string; arguments: Args }[] = []
  readonly files = new Map<string, Uint8Array>()
  readonly openHandles = new Map<number, { path: string; mode: string; at: number }>()
  /** Most bytes one `guest-file-write` takes. */
  writeLimit = Number.POSITIVE_INFINITY
  readonly #answers = new Map<string, Answer>()
  readonly #failures = new Map<string, Error[]>()
  #nextHandle = 1000

  constructor() {
    this.answer('guest-ping', () => ({}))
    this.answer('guest-sync', ({ id }) => id)
    this.answer('guest-file-open', ({ path, mode }) => this.#openFile(String(path), String(mode)))
    this.answer('guest-file-read', ({ handle, count }) => this.#read(Number(handle), Number(count)))
    this.answer('guest-file-write', ({ handle, 'buf-b64': data }) => this.#write(Number(handle), String(data)))
    this.answer('guest-file-flush', () => ({}))
    this.answer('guest-file-close', ({ handle }) => {
      if (!this.openHandles.delete(Number(handle))) throw new Refusal('no such handle')
      return {}
    })
  }

  answer(command: string, answer: Answer): void {
    this.#answers.set(command, answer)
  }

  /** The next calls of a command fail, once each. */
  fail(command: string, ...errors: Error[]): void {
    this.#failures.set(command, errors)
  }

  count(command: string): number {
    return this.commands.filter(({ execute }) => execute === command).length
  }

  async agentCommand(json: string, options: CallOptions = {}): Promise<string> {
    const { execute, arguments: args = {} } = JSON.parse(json) as { execute: string; arguments?: Args }
    this.commands.push({ execute, arguments: args })
    try {
      const failure = this.#failures.get(execute)?.shift()
      if (failure) throw failure
      const answer = this.#answers.get(execute)
      if (!answer) throw new Refusal(`The command ${execute} has not been found`)
      const value = await answer(args, options)
      return value instanceof RawAnswer ? value.text : JSON.stringify({ return: value })
    } catch (error) {
      if (error instanceof Refusal) {
        const text = `vm-001: internal error: unable to execute QEMU agent command '${execute}': ${error.message}`
        throw remoteError('ATP_LIBVIRT_REMOTE', text, { context: { libvirtCode: 1 } })
      }
      if (error instanceof LibvirtFailure) {
        throw remoteError('ATP_LIBVIRT_REMOTE', error.message, { context: { libvirtCode: error.libvirtCode } })
      }
      throw error
    }
  }

  #openFile(path: string, mode: string): number {
    if (mode === 'r' && !this.files.has(path))
      throw new Refusal(`failed to open file '${path}': No such file or directory`)
    if (mode === 'w') this.files.set(path, new Uint8Array(0))
    this.openHandles.set(this.#nextHandle, { path, mode, at: 0 })
    return this.#nextHandle++
  }

  #read(handle: number, count: number): unknown {
    const file = this.#handle(handle)
    const bytes = (this.files.get(file.path) as Uint8Array).subarray(file.at, file.at + count)
    file.at += bytes.length
    const eof = bytes.length < count
    return { count: bytes.length, eof, 'buf-b64': Buffer.from(bytes).toString('base64') }
  }

  #write(handle: number, data: string): unknown {
    const file = this.#handle(handle)
    const bytes = Buffer.from(data, 'base64').subarray(0, this.writeLimit)
    this.files.set(file.path, Buffer.concat([this.files.get(file.path) as Uint8Array, bytes]))
    return { count: bytes.length, eof: false }
  }

  #handle(handle: number) {
    const file = this.openHandles.get(handle)
    if (!file) throw new Refusal('no such handle')
    return file
  }
}

/** An answer's exact text. */
export class RawAnswer {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

/** Never answers: fails as the libvirt client does, or is aborted. */
export async function silence(_args: unknown, { timeoutMs = 60_000, signal }: CallOptions): Promise<never> {
  await sleep(timeoutMs, signal)
  throw timeoutError('ATP_LIBVIRT_TIMEOUT', `no answer within ${timeoutMs} ms`)
}
