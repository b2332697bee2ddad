import { randomBytes } from 'node:crypto'
import { messageOf, unsupportedError, type AtpError, type CallOptions } from '../core/index.ts'
import type { GuestInputDevice } from './input-devices.ts'

/** A guest's shell. A non-zero exit is a result, not an error. */
export type GuestShell = (
  line: string,
  options?: CallOptions,
) => Promise<{ exitCode: number | undefined; stdoutText: string; stderrText: string }>

/** The guest's side of an observer: one program for each device, which copies its records into a port. */
export interface EvdevReaders {
  /** What each writes before its first record. */
  readonly greetings: readonly string[]
  /** What each of them does now; undefined when one runs no more. */
  states(options?: CallOptions): Promise<readonly ReaderState[] | undefined>
  stop(): Promise<void>
}

export interface ReaderState {
  /** It waits for more: whatever its device reported, it has passed on. */
  idle: boolean
  /** Bytes it wrote so far; undefined where the guest's kernel does not count them. */
  writtenBytes: number | undefined
}

const STEP_TIMEOUT_MS = 30_000

/**
 * Starts the guest's own `cat` for each device, into the channel of the same index. When this resolves their devices
 * are open: no event is missed from then on.
 *
 * @param bounds `before`: lines that the shell runs first; they may use `free <port>`, which ends the port's holder.
 * @throws `ATP_VERIFY_GUEST`
 */
export async function startReaders(
  shell: GuestShell,
  devices: readonly GuestInputDevice[],
  channels: readonly string[],
  { before = [], ...bounds }: CallOptions & { before?: readonly string[] },
): Promise<EvdevReaders> {
  const nonce = randomBytes(8).toString('hex')
  const greetings = channels.map((name) => `${name} ${nonce}\n`)
  // Everything is opened before anything runs, so that a failure leaves no reader behind.
  const opened = devices.flatMap(({ path }, index) => {
    const port = `/dev/virtio-ports/${channels[index]}`
    return [`(exec 9>${port}) 2>/dev/null || free ${port}`, `exec ${3 + 2 * index}<${path} ${4 + 2 * index}>${port}`]
  })
  const readers = devices.map(
    (_, index) =>
      `{ echo '${greetings[index]?.trimEnd()}'; exec cat; } <&${3 + 2 * index} >&${4 + 2 * index} 2>/dev/null & echo $!`,
  )
  // A port has one opener; a reader that outlived its session may hold it still.
  const free =
    'free() { port=$(readlink -f "$1"); for fd in /proc/[0-9]*/fd/*; do ' +
    'if [ "$(readlink "$fd")" = "$port" ]; then pid=${fd#/proc/}; kill "${pid%%/*}"; fi; done; ' +
    'for try in 1 2 3 4 5 6 7 8 9; do (exec 9>"$1") 2>/dev/null && return; sleep 0.1; done; }'
  const { exitCode, stdoutText, stderrText } = await shell([free, ...before, ...opened, ...readers].join('\n'), bounds)
  const pids = stdoutText.trim().split('\n').map(Number)
  if (exitCode !== 0 || pids.length !== devices.length || !pids.every(Number.isInteger)) {
    throw guestError('its input devices cannot be streamed', stderrText || `exit code ${exitCode}`)
  }
  return { greetings, states: (options) => readStates(shell, pids, options), stop: () => stopReaders(shell, pids) }
}

async function readStates(
  shell: GuestShell,
  pids: readonly number[],
  options?: CallOptions,
): Promise<ReaderState[] | undefined> {
  // The state stands behind the program's name, which ends in the last parenthesis; see proc(5).
  const state = "sed 's/.*) //; s/ .*//' /proc/$pid/stat"
  const count = "sed -n 's/^wchar: //p' /proc/$pid/io 2>/dev/null"
  const line = `for pid in ${pids.join(' ')}; do kill -0 $pid || exit 1; echo "$(${state}) $(${count})"; done`
  const { exitCode, stdoutText } = await shell(line, { timeoutMs: STEP_TIMEOUT_MS, ...options })
  const lines = stdoutText.split('\n').slice(0, pids.length)
  // Z: it has ended, and nobody has asked how.
  if (exitCode !== 0 || lines.some((each) => each.startsWith('Z'))) return undefined
  return lines.map((each) => {
    const [letter, bytes] = each.split(' ')
    return { idle: letter === 'S', writtenBytes: bytes ? Number(bytes) : undefined }
  })
}

async function stopReaders(shell: GuestShell, pids: readonly number[]): Promise<void> {
  try {
    await shell(`kill ${pids.join(' ')}`, { timeoutMs: STEP_TIMEOUT_MS })
  } catch (error) {
    throw guestError('its input readers cannot be stopped', messageOf(error), error)
  }
}

/** `ATP_VERIFY_GUEST` */
export function guestError(what: string, detail: string, cause?: unknown): AtpError {
  return unsupportedError('ATP_VERIFY_GUEST', `the guest cannot be observed, ${what}: ${detail.trim().slice(0, 500)}`, {
    cause,
    verdict: 'infrastructure',
    remedy: 'observing needs a Linux guest whose agent runs as root, with sh, cat, sed and readlink',
  })
}
