import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { connectError, interrupted, logger, redact, type AtpError } from '../core/index.ts'
import type { ByteStream } from '../wire/byte-stream.ts'
import { NodeStream } from './node-stream.ts'

/** How much of what a process said last is kept for its error. */
const STDERR_TAIL_BYTES = 4096
/** How long a process may take to end when asked, and to end by itself once its output is over. */
const GRACE_MS = 2000

/** How a process ended by itself. */
export interface ProcessEnd {
  exitCode: number | null
  signal: NodeJS.Signals | null
  /** The last of what it said, at most 4 KiB, without secrets and control characters. */
  stderr: string
}

export interface SpawnOptions {
  signal?: AbortSignal
  env?: Readonly<Record<string, string | undefined>>
  /** Name of the stream in messages. Default `process:<program>`. */
  peer?: string
  /** See {@link ByteStream.confidential}. Default false. */
  confidential?: boolean
  /** The error of a stream whose process ended by itself; undefined: a clean end. Default: any exit but 0 is one. */
  explain?(end: ProcessEnd): Error | undefined
}

/**
 * Starts a program, without a shell, and speaks with it over its standard input and output.
 *
 * Destroying the stream ends the process and whatever it started in its group: by SIGTERM, and two seconds later by
 * SIGKILL; `onClose` comes when it is gone. When this process dies, the end of its input tells the program. It runs in
 * a session of its own: a Ctrl-C at the terminal is not meant for it, and it cannot ask at the terminal.
 *
 * @throws `ATP_PROCESS_START` when it cannot be started, `ATP_INTERRUPTED`. The stream ends with `ATP_PROCESS_ENDED`,
 *   or what `explain` makes.
 */
export function spawnStream(
  [program, ...args]: readonly [string, ...string[]],
  options: SpawnOptions = {},
): Promise<ByteStream> {
  const { signal, env, peer = `process:${program}`, confidential = false, explain } = options
  return new Promise((resolve, reject) => {
    if (signal?.aborted) throw interrupted(`starting ${program}`, signal)
    let child: ChildProcessWithoutNullStreams
    try {
      child = spawn(program, args, { env: env as NodeJS.ProcessEnv, stdio: 'pipe', detached: true })
    } catch (error) {
      throw startError(program, error as Error)
    }
    logger('transport').debug('{peer}: started {argv}', { peer, argv: [program, ...args] })
    child.once('error', (error) => reject(startError(program, error)))
    child.once('spawn', () =>
      resolve(overChild(child, peer, confidential, explain ?? ((end) => endedError(peer, end)))),
    )
  })
}

function overChild(
  child: ChildProcessWithoutNullStreams,
  peer: string,
  confidential: boolean,
  explain: (end: ProcessEnd) => Error | undefined,
): ByteStream {
  const { stdin, stdout, stderr } = child
  let tail = Buffer.alloc(0)
  let destroyed = false
  let grace: NodeJS.Timeout | undefined

  const end = () => {
    signalGroup(child, 'SIGTERM')
    clearTimeout(grace)
    grace = setTimeout(() => signalGroup(child, 'SIGKILL'), GRACE_MS)
  }
  const closePipes = () => {
    for (const pipe of [stdin, stdout, stderr]) pipe.destroy()
  }
  const stream = new NodeStream(peer, {
    confidential,
    input: stdout,
    output: stdin,
    destroy: () => {
      if (destroyed) return
      destroyed = true
      closePipes()
      end()
    },
  })

  stdout.pause()
  stdout.on('data', (chunk: Buffer) => stream.receive(chunk))
  stderr.on('data', (chunk: Buffer) => (tail = Buffer.concat([tail, chunk]).subarray(-STDERR_TAIL_BYTES)))
  // A broken pipe is followed by the end of the process, which says why.
  for (const pipe of [stdin, stdout, stderr]) pipe.on('error', () => {})
  stdout.once('end', () => {
    grace ??= setTimeout(end, GRACE_MS)
  })
  child.once('exit', () => {
    clearTimeout(grace)
    // A process that outlives this one, such as a shared ssh connection, may keep the pipes.
    grace = setTimeout(closePipes, GRACE_MS)
  })
  child.once('close', (exitCode: number | null, signal: NodeJS.Signals | null) => {
    clearTimeout(grace)
    const reason = destroyed ? undefined : explain({ exitCode, signal, stderr: readable(tail) })
    logger('transport').debug('{peer}: ended by {how}', { peer, how: signal ?? `exit code ${exitCode}` })
    if (reason) stream.fail(reason)
    stream.ended()
  })
  return stream
}

function signalGroup(child: ChildProcessWithoutNullStreams, signal: NodeJS.Signals): void {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
  try {
    process.kill(-child.pid, signal)
  } catch {
    // It is gone.
  }
}

/** What a foreign program wrote, fit for a message: it could hold escape sequences for the reader's terminal. */
function readable(bytes: Buffer): string {
  const lines = bytes.toString('utf8').split(/[\r\n]+/)
  return redact(
    lines
      .map((line) => line.replace(/\p{Cc}/gu, '').trim())
      .filter(Boolean)
      .join('\n'),
  )
}

function startError(program: string, cause: Error): AtpError {
  const errno = (cause as NodeJS.ErrnoException).code
  return connectError('ATP_PROCESS_START', `cannot start ${program}: ${errno ?? cause.message}`, {
    cause,
    context: { program, errno },
    remedy: 'install the program, or correct its path',
  })
}

/** The error of a process that did not end with exit code 0. */
function endedError(peer: string, { exitCode, signal, stderr }: ProcessEnd): AtpError | undefined {
  if (exitCode === 0) return undefined
  const how = signal === null ? `with exit code ${exitCode}` : `by ${signal}`
  return connectError('ATP_PROCESS_ENDED', `${peer} ended ${how}${stderr === '' ? '' : `: ${stderr}`}`, {
    context: { peer, exitCode, signal, stderr },
    retryable: true,
  })
}
