import { isAtpError, messageOf, sleep, type CallOptions } from '../../core/index.ts'
import type { ProtocolTarget } from '../protocol.ts'
import type { TranscriptRecorder } from '../transcript.ts'
import { encodeCommand, parseReply, readableMessage } from './codec.ts'
import { explainAgentFailure, qgaClosedError, qgaExecuteError, qgaProtocolError } from './errors.ts'

export interface QgaConnectionOptions {
  /** Time limit of one agent command that names none of its own, milliseconds. Default 10000. */
  timeoutMs?: number
  /**
   * How often a command without side effects is sent again when the agent does not respond. Default 2.
   * Commands that change the guest (`guest-exec`, file writes) are never sent twice.
   */
  retries?: number
  /** Pause before the first of them, milliseconds; it doubles. Default 100. */
  retryDelayMs?: number
  /** Records both directions. */
  transcript?: TranscriptRecorder
}

export interface QgaCallOptions extends CallOptions {
  /** The command has no side effect and may be sent again if the agent does not respond. Default false. */
  idempotent?: boolean
  /** Integers beyond 2^53 arrive as bigint instead of being rounded. */
  exactIntegers?: boolean
}

type AgentTarget = Pick<ProtocolTarget, 'name' | 'agentCommand' | 'onConnection'>

const PING = '{"execute":"guest-ping"}'
/** Longest wait for the answer to one ping, milliseconds. */
const PING_TIMEOUT_MS = 5000
/** First and longest pause between two of them. */
const PING_PAUSE_MS = 25
const PING_PAUSE_MAX_MS = 400

/**
 * One VM's agent, reached through libvirt, which owns the channel and keeps requests and answers in step.
 *
 * It outlives the loss of the connection to the host. A daemon that was restarted has yet to find the agent again:
 * the first command after that waits until it answers.
 */
export class QgaConnection {
  readonly vm: string
  readonly timeoutMs: number
  readonly retries: number
  readonly #target: AgentTarget
  readonly #retryDelayMs: number
  readonly #transcript: TranscriptRecorder | undefined
  readonly #unlisten: (() => void) | undefined
  #closed: { reason: unknown } | undefined
  #lost = false
  /** The connection was lost since the agent answered last. */
  #doubtful = false

  constructor(target: AgentTarget, options: QgaConnectionOptions = {}) {
    this.vm = target.name
    this.#target = target
    this.timeoutMs = options.timeoutMs ?? 10_000
    this.retries = options.retries ?? 2
    this.#retryDelayMs = options.retryDelayMs ?? 100
    this.#transcript = options.transcript
    this.#unlisten = target.onConnection?.(({ state, error }) => {
      this.#lost = state === 'lost'
      this.#doubtful = true
      const text = `<the connection to the host was ${state}${error ? `: ${messageOf(error)}` : ''}>`
      this.#transcript?.record(this.vm, 'qga', 'in', text)
    })
  }

  get open(): boolean {
    return this.#closed === undefined
  }

  /** Whether commands can be given now: false also while the connection to the host is being restored. */
  get reachable(): boolean {
    return this.open && !this.#lost
  }

  /** Later calls are refused. Calls under way run to their own end: libvirt cannot take a command back. */
  close(reason?: unknown): void {
    this.#closed ??= { reason }
    this.#unlisten?.()
  }

  /** One command's `return` member. */
  async command(execute: string, args: object | undefined, options: QgaCallOptions): Promise<unknown> {
    const json = encodeCommand(execute, args)
    const deadline = performance.now() + (options.timeoutMs ?? this.timeoutMs)
    for (let attempt = 0; ; attempt++) {
      const remainingMs = deadline - performance.now()
      try {
        const text = await this.exchange(execute, json, { signal: options.signal, timeoutMs: Math.max(1, remainingMs) })
        return this.#value(execute, text, options.exactIntegers)
      } catch (error) {
        const pauseMs = this.#retryDelayMs * 2 ** attempt
        const again =
          options.idempotent === true &&
          attempt < this.retries &&
          isAtpError(error, 'ATP_QGA_UNRESPONSIVE') &&
          performance.now() + pauseMs < deadline
        if (!again) throw error
        await sleep(pauseMs, options.signal)
      }
    }
  }

  /** One request, one answer, as texts; sent once. */
  async exchange(execute: string, json: string, options: CallOptions): Promise<string> {
    if (this.#closed) throw qgaClosedError(this.vm, this.#closed.reason)
    if (!this.#doubtful) return this.#send(execute, json, options)
    const { signal, timeoutMs = this.timeoutMs } = options
    const endMs = performance.now() + timeoutMs
    await this.#found(endMs, signal)
    return this.#send(execute, json, { signal, timeoutMs: Math.max(1, endMs - performance.now()) })
  }

  /** Waits until the daemon has found the agent again. */
  async #found(endMs: number, signal: AbortSignal | undefined): Promise<void> {
    for (let pauseMs = PING_PAUSE_MS; this.#doubtful; pauseMs = Math.min(pauseMs * 2, PING_PAUSE_MAX_MS)) {
      const timeoutMs = Math.max(1, Math.min(PING_TIMEOUT_MS, endMs - performance.now()))
      try {
        await this.#target.agentCommand(PING, { signal, timeoutMs })
        this.#doubtful = false
      } catch (cause) {
        const error = explainAgentFailure(this.vm, 'guest-ping', cause)
        const passing = isAtpError(error, 'ATP_QGA_UNRESPONSIVE') || isAtpError(error, 'ATP_LIBVIRT_TIMEOUT')
        if (!passing || performance.now() + pauseMs >= endMs) throw error
        await sleep(pauseMs, signal)
      }
    }
  }

  async #send(execute: string, json: string, options: CallOptions): Promise<string> {
    this.#transcript?.record(this.vm, 'qga', 'out', readableMessage(json))
    try {
      const text = await this.#target.agentCommand(json, options)
      this.#transcript?.record(this.vm, 'qga', 'in', readableMessage(text))
      return text
    } catch (cause) {
      const error = explainAgentFailure(this.vm, execute, cause)
      this.#transcript?.record(this.vm, 'qga', 'in', `<${error instanceof Error ? error.message : String(error)}>`)
      throw error
    }
  }

  #value(execute: string, text: string, exactIntegers: boolean | undefined): unknown {
    const reply = parseReply(text, exactIntegers)
    if (!reply) throw qgaProtocolError(this.vm, `${execute} with no answer`, text)
    if (reply.type === 'error') throw qgaExecuteError(this.vm, execute, reply.desc)
    return reply.value
  }
}
