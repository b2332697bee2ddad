import { isAtpError, sleep, timeoutError, withDeadline, type AtpError, type CallOptions } from '../../core/index.ts'
import type { ProtocolTarget } from '../protocol.ts'
import {
  guestExec,
  type GuestAgentInfo,
  type GuestExecCommand,
  type GuestExecInput,
  type GuestExecStatus,
  type GuestOsInfo,
} from './codec.ts'
import { QgaConnection, type QgaCallOptions, type QgaConnectionOptions } from './connection.ts'
import { qgaExecTimeoutError, qgaProtocolError } from './errors.ts'
import { GuestExecResult } from './exec-result.ts'
import { readGuestFile, writeGuestFile } from './files.ts'

export interface QgaOptions extends QgaConnectionOptions {
  /** Time limit of {@link QgaClient.execAndWait} and the shells, milliseconds. Default 60000. */
  execTimeoutMs?: number
  /** First pause between two looks at a process, milliseconds; the pause doubles. Default 3. */
  pollMs?: number
  /** Longest pause, milliseconds. Default 200. */
  pollMaxMs?: number
}

export interface ExecAndWaitOptions extends CallOptions {
  pollMs?: number
  pollMaxMs?: number
}

export type ShellOptions = ExecAndWaitOptions & Pick<GuestExecInput, 'args' | 'env' | 'input'>

export interface ReadFileOptions extends CallOptions {
  /** Most that is read, bytes. Default 64 MiB. */
  maxBytes?: number
}

/** Which kind of shell and paths the guest has. */
export type GuestFamily = 'linux' | 'windows' | 'other'

const FILE_TIMEOUT_MS = 60_000
const MAX_FILE_BYTES = 64 * 1024 * 1024
/** Pause between two attempts to reach an agent that is still starting. */
const READY_POLL_MS = 100
/** Longest wait for one ping while it starts. */
const READY_PING_MS = 5_000
const NOT_LINUX = /^(free|net|open|dragonfly)?bsd|^solaris|^sunos|^macos|^darwin|^haiku/i

/**
 * The QEMU guest agent of one VM, through libvirt. It outlives the loss of the connection to the host: what was under
 * way rejects and is not repeated, later calls wait for the connection.
 *
 * Calls reject with `ATP_QGA_EXECUTE` (the agent refused), `ATP_QGA_UNRESPONSIVE`, `ATP_QGA_ABSENT`,
 * `ATP_QGA_PROTOCOL`, `ATP_QGA_CLOSED`, `ATP_INTERRUPTED`, a timeout error, or the host connection's errors.
 */
export class QgaClient {
  readonly #agent: QgaConnection
  readonly #options: QgaOptions
  #family: GuestFamily | undefined

  constructor(target: Pick<ProtocolTarget, 'name' | 'agentCommand' | 'onConnection'>, options: QgaOptions = {}) {
    this.#agent = new QgaConnection(target, options)
    this.#options = options
  }

  get closed(): boolean {
    return !this.#agent.open
  }

  /** Whether commands can be given now: false also while the connection to the host is being restored. */
  get reachable(): boolean {
    return this.#agent.reachable
  }

  /** Refuses later calls with `ATP_QGA_CLOSED`, `reason` being its cause. Idempotent. */
  close(reason?: unknown): void {
    this.#agent.close(reason)
  }

  /** Any agent command. `T` is the caller's claim and is not checked. Sent once unless said to be idempotent. */
  async execute<T = unknown>(command: string, args?: object, options: QgaCallOptions = {}): Promise<T> {
    return (await this.#agent.command(command, args, options)) as T
  }

  /** One message and its answer as JSON texts, unread; sent once. */
  async exchange(json: string, options: CallOptions = {}): Promise<string> {
    return this.#agent.exchange('a raw command', json, { timeoutMs: this.#agent.timeoutMs, ...options })
  }

  async ping(options: CallOptions = {}): Promise<void> {
    await this.execute('guest-ping', undefined, { ...options, idempotent: true })
  }

  /**
   * Waits until the agent answers, for a guest that is booting. The default limit is that of `execAndWait`.
   *
   * @throws `ATP_QGA_NOT_READY`, its cause the last failure; at once what cannot heal, such as `ATP_QGA_ABSENT`.
   */
  async waitReady({ signal, timeoutMs = this.#execTimeoutMs }: CallOptions = {}): Promise<void> {
    const deadline = performance.now() + timeoutMs
    for (;;) {
      const pingMs = Math.max(1, Math.min(READY_PING_MS, deadline - performance.now()))
      try {
        await this.execute('guest-ping', undefined, { signal, timeoutMs: pingMs })
        return
      } catch (error) {
        if (!isAtpError(error) || (error.code !== 'ATP_QGA_UNRESPONSIVE' && error.branch !== 'timeout')) throw error
        if (performance.now() + READY_POLL_MS >= deadline) throw this.#notReady(timeoutMs, error)
      }
      await sleep(READY_POLL_MS, signal)
    }
  }

  /** `guest-sync`: proves that request and answer are in step. @throws `ATP_QGA_PROTOCOL` if they are not. */
  async sync(options: CallOptions = {}): Promise<void> {
    const id = Math.floor(Math.random() * 0x7fff_ffff)
    const answer = await this.execute('guest-sync', { id }, { ...options, idempotent: true })
    if (answer !== id) throw qgaProtocolError(this.#agent.vm, `guest-sync ${id} out of step`, JSON.stringify(answer))
  }

  async info(options: CallOptions = {}): Promise<GuestAgentInfo> {
    const answer = await this.execute<Partial<GuestAgentInfo>>('guest-info', undefined, {
      ...options,
      idempotent: true,
    })
    const { version, supported_commands: commands } = answer ?? {}
    if (typeof version !== 'string' || !Array.isArray(commands)) throw this.#malformed('guest-info', answer)
    return { version, supported_commands: commands }
  }

  async osInfo(options: CallOptions = {}): Promise<GuestOsInfo> {
    const answer = await this.execute('guest-get-osinfo', undefined, { ...options, idempotent: true })
    if (typeof answer !== 'object' || answer === null) throw this.#malformed('guest-get-osinfo', answer)
    return answer
  }

  /** From {@link osInfo}; asked once. */
  async family(options: CallOptions = {}): Promise<GuestFamily> {
    this.#family ??= familyOf(await this.osInfo(options))
    return this.#family
  }

  /** The guest's wall clock, nanoseconds since the epoch, exact. Sent once: an old answer would be a wrong one. */
  async getTime(options: CallOptions = {}): Promise<bigint> {
    const answer = await this.execute('guest-get-time', undefined, { ...options, exactIntegers: true })
    if (typeof answer !== 'number' && typeof answer !== 'bigint') throw this.#malformed('guest-get-time', answer)
    return BigInt(answer)
  }

  /** Starts a process and returns its pid without waiting. Never sent twice. */
  async exec(command: GuestExecCommand, options: CallOptions = {}): Promise<number> {
    const answer = await this.execute<{ pid?: unknown }>('guest-exec', command, options)
    if (typeof answer?.pid !== 'number') throw this.#malformed('guest-exec', answer)
    return answer.pid
  }

  /** Looks at a started process. The answer with `exited` is given once: the agent then forgets the process. */
  async execStatus(pid: number, options: CallOptions = {}): Promise<GuestExecStatus> {
    const answer = await this.execute<GuestExecStatus>('guest-exec-status', { pid }, { ...options, idempotent: true })
    if (typeof answer?.exited !== 'boolean') throw this.#malformed('guest-exec-status', answer)
    return answer
  }

  /**
   * Starts a process and waits for its end. A non-zero exit is a result, not an error. The end is also that of
   * every process that inherited its output: redirect what goes on in the background.
   *
   * What it writes must fit into one answer: libvirt 9 passes on about 3.1 MB, rejects more (`ATP_QGA_TOO_LARGE`),
   * and from about 7 MB on gives up the agent until the guest restarts it. Larger output belongs into a file.
   *
   * @throws `ATP_QGA_EXEC_TIMEOUT` with the pid; the process goes on running.
   */
  async execAndWait(command: GuestExecCommand, options: ExecAndWaitOptions = {}): Promise<GuestExecResult> {
    const { signal, timeoutMs = this.#execTimeoutMs } = options
    const pollMaxMs = options.pollMaxMs ?? this.#options.pollMaxMs ?? 200
    const startedAt = performance.now()
    const remaining = () => timeoutMs - (performance.now() - startedAt)
    const bounds = () => ({ signal, timeoutMs: Math.max(1, Math.min(this.#agent.timeoutMs, remaining())) })
    const pid = await this.exec(command, bounds())
    const overdue = () => qgaExecTimeoutError(this.#agent.vm, command.path, pid, timeoutMs)
    for (let pauseMs = options.pollMs ?? this.#options.pollMs ?? 3; ; pauseMs = Math.min(pauseMs * 2, pollMaxMs)) {
      const limits = bounds()
      let status: GuestExecStatus
      try {
        status = await this.execStatus(pid, limits)
      } catch (error) {
        // A command's own limit is the agent's failure; where the rest of the whole time was less, the process's.
        const whole = isAtpError(error) && error.branch === 'timeout' && limits.timeoutMs < this.#agent.timeoutMs
        throw whole ? overdue() : error
      }
      if (status.exited) return new GuestExecResult(pid, status, performance.now() - startedAt)
      if (remaining() <= 0) throw overdue()
      await sleep(Math.min(pauseMs, Math.max(0, remaining())), signal)
    }
  }

  /**
   * Runs a line in the guest's own shell: `/bin/sh -c`, on Windows `cmd /c`. `args` become `$1`, `$2`… of sh;
   * cmd has no such thing and gets them appended.
   */
  async shell(line: string, options: ShellOptions = {}): Promise<GuestExecResult> {
    const { args = [], env, input, ...bounds } = options
    const windows = (await this.family({ signal: options.signal })) === 'windows'
    const command = windows
      ? guestExec('cmd.exe', { args: ['/d', '/s', '/c', line, ...args], env, input })
      : guestExec('/bin/sh', { args: ['-c', line, 'sh', ...args], env, input })
    return this.execAndWait(command, bounds)
  }

  /** Runs a PowerShell script, encoded so that no shell on the way can misread it. */
  async powershell(script: string, options: Omit<ShellOptions, 'args'> = {}): Promise<GuestExecResult> {
    const { env, input, ...bounds } = options
    const encoded = Buffer.from(script, 'utf16le').toString('base64')
    const args = ['-NoProfile', '-NonInteractive', '-EncodedCommand', encoded]
    return this.execAndWait(guestExec('powershell.exe', { args, env, input }), bounds)
  }

  /**
   * A file's bytes. The limit of time is for the whole file; default 60 s. Read again from its beginning when the
   * agent stops responding.
   *
   * @throws `ATP_QGA_FILE` when it cannot be opened or is too large.
   */
  async readFile(path: string, options: ReadFileOptions = {}): Promise<Uint8Array> {
    const { maxBytes = MAX_FILE_BYTES, timeoutMs = FILE_TIMEOUT_MS, signal } = options
    return withDeadline(`reading ${path} of ${this.#agent.vm}`, { timeoutMs, signal }, async (bound) => {
      for (let attempt = 0; ; attempt++) {
        try {
          return await readGuestFile(this.#agent, path, maxBytes, { signal: bound })
        } catch (error) {
          if (!isAtpError(error, 'ATP_QGA_UNRESPONSIVE') || attempt >= this.#agent.retries) throw error
          await sleep(READY_POLL_MS, bound)
        }
      }
    })
  }

  /** Replaces a file's content; creates the file. Never repeated. The limit of time is for the whole file; 60 s. */
  async writeFile(path: string, content: string | Uint8Array, options: CallOptions = {}): Promise<void> {
    const { timeoutMs = FILE_TIMEOUT_MS, signal } = options
    const bytes = typeof content === 'string' ? Buffer.from(content) : content
    await withDeadline(`writing ${path} of ${this.#agent.vm}`, { timeoutMs, signal }, (bound) =>
      writeGuestFile(this.#agent, path, bytes, { signal: bound }),
    )
  }

  #notReady(timeoutMs: number, cause: unknown): AtpError {
    const { vm } = this.#agent
    return timeoutError('ATP_QGA_NOT_READY', `${vm}: no guest agent answered within ${timeoutMs} ms`, {
      cause,
      context: { vm, timeoutMs },
      remedy:
        'check on the screen or the serial console that the guest has booted, and that qemu-guest-agent runs in it',
    })
  }

  #malformed(command: string, answer: unknown): AtpError {
    return qgaProtocolError(this.#agent.vm, `${command} with something else`, JSON.stringify(answer) ?? 'undefined')
  }

  get #execTimeoutMs(): number {
    return this.#options.execTimeoutMs ?? 60_000
  }
}

/** What `guest-get-osinfo` says about shells. An agent on a Linux without os-release names no id. */
export function familyOf({ id }: GuestOsInfo): GuestFamily {
  if (id === 'mswindows') return 'windows'
  return id !== undefined && NOT_LINUX.test(id) ? 'other' : 'linux'
}
