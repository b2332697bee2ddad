import { readFile } from 'node:fs/promises'
import {
  connectError,
  isAtpError,
  messageOf,
  pollUntil,
  remoteError,
  sleep,
  timeoutError,
  type CallOptions,
} from '../framework/core/index.ts'
import type { Domain, LibvirtClient } from '../framework/protocols/libvirt/index.ts'

const SERIAL_TAIL_CHARACTERS = 1000
/** How often a silent guest's console is read for a panic, which no waiting mends. */
const SERIAL_READ_MS = 200
const COMMAND_TIMEOUT_MS = 10_000
const CLOCK_RATE_WINDOW_MS = 1000
const CLOCK_READINGS = 10

/** The few guest-agent commands with which the lab prepares a VM (QEMU documentation, `interop/qemu-ga-ref`). */
export class GuestAgent {
  readonly #client: LibvirtClient
  readonly #domain: Domain

  constructor(client: LibvirtClient, domain: Domain) {
    this.#client = client
    this.#domain = domain
  }

  /**
   * Waits for the agent's first answer.
   *
   * @throws `ATP_LAB_GUEST_SILENT` with the end of the serial console, after the time limit or as soon as the kernel
   * panicked; `ATP_LAB_GUEST_GONE` as soon as the VM is gone; `ATP_INTERRUPTED`.
   */
  async ready(serialLog: string, options: CallOptions): Promise<void> {
    const { name } = this.#domain
    const bounds = { intervalMs: 4, maxIntervalMs: 16, ...options }
    const console = () => readFile(serialLog, 'utf8').catch(() => '')
    const silent = (what: string, said: string, cause?: unknown) =>
      timeoutError(
        'ATP_LAB_GUEST_SILENT',
        `${what}; serial console: ${said.trim().slice(-SERIAL_TAIL_CHARACTERS) || 'empty'}`,
        {
          cause,
          context: { vm: name, serialLog },
          remedy: 'the serial console names the cause; an empty one on a busy machine means the guest needs more time',
        },
      )
    let readAtMs = performance.now()
    try {
      const failure = await pollUntil(`the guest agent of "${name}"`, bounds, async (signal) => {
        try {
          const gone = await this.#ping(signal)
          return (
            gone &&
            connectError('ATP_LAB_GUEST_GONE', `"${name}" ended before its guest agent answered`, { cause: gone })
          )
        } catch (error) {
          if (performance.now() - readAtMs < SERIAL_READ_MS) throw error
          readAtMs = performance.now()
          const said = await console()
          if (said.includes('Kernel panic')) return silent(`the kernel of "${name}" panicked`, said, error)
          throw error
        }
      })
      if (failure) throw failure
    } catch (error) {
      if (!isAtpError(error, 'ATP_TIMEOUT')) throw error
      const what = `the guest agent of "${name}" did not answer within ${options.timeoutMs} ms`
      throw silent(what, await console(), error)
    }
  }

  /** False once the agent answers, the error once the VM is gone. */
  async #ping(signal: AbortSignal): Promise<false | Error> {
    try {
      await this.#call('guest-ping', {}, { signal })
      return false
    } catch (error) {
      if (isAtpError(error, 'ATP_LIBVIRT_NO_DOMAIN')) return error
      throw error
    }
  }

  /**
   * Runs a shell line to its end.
   *
   * @throws `ATP_LAB_GUEST_COMMAND` when it exits with another code than 0.
   */
  async shell(line: string, options: CallOptions): Promise<void> {
    const started = await this.#call('guest-exec', { path: '/bin/sh', arg: ['-c', line] }, options)
    const { pid } = started as { pid: number }
    const exitCode = await pollUntil(`"${line}" in "${this.#domain.name}"`, options, async (signal) => {
      const status = await this.#call('guest-exec-status', { pid }, { signal })
      const { exited, exitcode } = status as { exited: boolean; exitcode?: number }
      return exited ? (exitcode ?? -1) : undefined
    })
    if (exitCode !== 0) {
      throw remoteError('ATP_LAB_GUEST_COMMAND', `"${line}" in "${this.#domain.name}" ended with exit code ${exitCode}`)
    }
  }

  /**
   * How fast the guest's clock runs, 1 being right, over one second; exact to about one in a thousand. A kernel that
   * boots on a busy machine may take its processor for a slower one, and its clock then runs away.
   */
  async clockRate(options: CallOptions): Promise<number> {
    const first = await this.#readClock(options)
    await sleep(CLOCK_RATE_WINDOW_MS, options.signal)
    const second = await this.#readClock(options)
    return (second.guestMs - first.guestMs) / (second.hostMs - first.hostMs)
  }

  /** The reading with the shortest round trip. */
  async #readClock(options: CallOptions): Promise<{ guestMs: number; hostMs: number }> {
    let best = { guestMs: 0, hostMs: 0, tripMs: Number.POSITIVE_INFINITY }
    for (let reading = 0; reading < CLOCK_READINGS; reading++) {
      const before = performance.now()
      const guestMs = Number(await this.#call('guest-get-time', {}, options)) / 1e6
      const after = performance.now()
      if (after - before < best.tripMs) best = { guestMs, hostMs: (before + after) / 2, tripMs: after - before }
    }
    return best
  }

  async #call(execute: string, args: object, options: CallOptions): Promise<unknown> {
    const text = await this.#client.agentCommand(this.#domain, JSON.stringify({ execute, arguments: args }), {
      timeoutMs: COMMAND_TIMEOUT_MS,
      ...options,
    })
    try {
      return (JSON.parse(text) as { return: unknown }).return
    } catch (error) {
      throw remoteError(
        'ATP_LAB_GUEST_COMMAND',
        `${execute} in "${this.#domain.name}" answered no JSON: ${messageOf(error)}`,
      )
    }
  }
}
