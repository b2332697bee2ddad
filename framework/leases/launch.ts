import { spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { readFile, rm, stat, truncate } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { connectError, messageOf, pollUntil, type CallOptions } from '../core/index.ts'
import { BROKER_PROGRAM, isBrokerAlive, ProcessGuard } from './process-guard.ts'
import { makeStateDir, statePaths, type StatePaths } from './state-dir.ts'

/** What a broker is started with when none runs. */
export interface BrokerStart {
  /** URL of the module that exports `createProvider(config)`. Without it: locks and attached VMs only. */
  provider?: string
  /** Passed to `createProvider`; JSON. */
  config?: unknown
  /** How long a broker nobody needs stays, milliseconds. Default 5000. */
  idleMs?: number
}

const LARGEST_LOG_BYTES = 10 * 1024 * 1024
const LOG_TAIL_LINES = 15

/**
 * Identity of what a broker serves. Client and broker compare it. Of the provider's module only folder and name
 * count: every project has a copy of its own, and their versions are compared apart.
 */
export function servesOf(provider: string | undefined, configJson: string): string {
  const module = provider
    ?.replace(/\.[jt]s$/, '')
    .split('/')
    .slice(-2)
    .join('/')
  return `${module ?? 'none'} ${configJson}`
}
export function configJsonOf(start: BrokerStart): string {
  return JSON.stringify(start.config ?? null)
}

/**
 * A connection to the broker of a state directory; starts the broker if there is none and `start` says how.
 *
 * @throws `ATP_BROKER_ABSENT` when none runs and none is to be started, `ATP_BROKER_START` when it does not come up,
 * `ATP_BROKER_STATE_DIR`, `ATP_BROKER_CONNECT`, `ATP_INTERRUPTED`, `ATP_TIMEOUT`.
 */
export async function reach(paths: StatePaths, start: BrokerStart | undefined, bounds: CallOptions): Promise<Socket> {
  const first = await tryConnect(paths)
  if (first) return first
  if (!start && !(await ProcessGuard.isHeld(paths.dir, 'broker'))) {
    throw connectError('ATP_BROKER_ABSENT', `no lease broker runs for "${paths.dir}"`, {
      remedy: 'it runs while `atp test` does, or after `atp lab up`',
    })
  }
  if (start) await makeStateDir(paths)
  let guard: ProcessGuard | undefined
  let child: StartedBroker | undefined
  try {
    const outcome = await pollUntil(
      `reaching the lease broker of "${paths.dir}"`,
      { ...bounds, intervalMs: 10, maxIntervalMs: 100 },
      async (signal) => {
        try {
          const socket = await tryConnect(paths)
          if (signal.aborted) socket?.destroy()
          if (socket || !start) return socket
          if (child?.failed) return child.failed
          if ((child && !child.ended) || (await ProcessGuard.isHeld(paths.dir, 'broker'))) return undefined
          // Without the guard another process is starting one right now; then its broker is waited for.
          guard ??= await ProcessGuard.acquire(paths.dir, 'start')
          if (guard) child = await startBroker(paths, start)
          return undefined
        } catch (error) {
          return error as Error
        }
      },
    )
    if (outcome instanceof Error) throw outcome
    return outcome
  } finally {
    await guard?.release()
  }
}

interface StartedBroker {
  ended: boolean
  failed: Error | undefined
}

async function startBroker(paths: StatePaths, start: BrokerStart): Promise<StartedBroker> {
  await emptyLargeLog(paths.log)
  const file = openSync(paths.log, 'a', 0o600)
  const state: StartedBroker = { ended: false, failed: undefined }
  const program = fileURLToPath(
    new URL(`${BROKER_PROGRAM}.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`, import.meta.url),
  )
  const args = [program, '--state', paths.dir, '--config', configJsonOf(start)]
  if (start.provider !== undefined) args.push('--provider', start.provider)
  if (start.idleMs !== undefined) args.push('--idle-ms', String(start.idleMs))
  // A debugger's or coverage tool's options are meant for the client.
  const { NODE_OPTIONS: _options, NODE_V8_COVERAGE: _coverage, ...env } = process.env
  const child = spawn(process.execPath, args, { detached: true, stdio: ['ignore', file, file], cwd: paths.dir, env })
  closeSync(file)
  const ended = (why?: string) => {
    state.ended = true
    if (why !== undefined) state.failed = startError(paths, why)
  }
  child.once('error', (error) => ended(messageOf(error)))
  // 0: another broker was faster.
  child.once('exit', (code, signal) => ended(code === 0 ? undefined : `it ended with ${signal ?? `exit code ${code}`}`))
  child.unref()
  return state
}

/** What connecting says where no broker listens, or none that takes connections. */
const ABSENT = new Set(['ENOENT', 'ECONNREFUSED', 'ECONNRESET', 'EAGAIN'])

function tryConnect(paths: StatePaths): Promise<Socket | undefined> {
  return new Promise((resolve, reject) => {
    const socket = connect(paths.socket)
    socket.once('connect', () => {
      socket.removeAllListeners('error')
      resolve(socket)
    })
    socket.once('error', (error: NodeJS.ErrnoException) => {
      // Reset: it was just ending, with this connection still in its queue.
      if (ABSENT.has(error.code ?? '')) resolve(undefined)
      else
        reject(
          connectError('ATP_BROKER_CONNECT', `the lease broker cannot be reached: ${messageOf(error)}`, {
            cause: error,
            context: { socket: paths.socket },
          }),
        )
    })
  })
}

function startError(paths: StatePaths, why: string): Error {
  const tail = readTail(paths.log)
  return connectError(
    'ATP_BROKER_START',
    `the lease broker of "${paths.dir}" did not start: ${why}${tail && `\n${tail}`}`,
    {
      context: { log: paths.log },
      remedy: `its log is ${paths.log}`,
    },
  )
}

function readTail(path: string): string {
  try {
    return readFileSync(path, 'utf8').trimEnd().split('\n').slice(-LOG_TAIL_LINES).join('\n')
  } catch (error) {
    return `(the log cannot be read: ${messageOf(error)})`
  }
}

async function emptyLargeLog(path: string): Promise<void> {
  const size = await stat(path).then(
    ({ size: sizeBytes }) => sizeBytes,
    () => 0,
  )
  if (size > LARGEST_LOG_BYTES) await truncate(path)
}

/**
 * Ends the broker of a state directory with all its VMs and leases, and forgets the standbys it was asked for.
 *
 * @returns whether one ran.
 * @throws `ATP_TIMEOUT` when it is still there after `timeoutMs` (default 90000), `ATP_INTERRUPTED`.
 */
export async function stopBroker(stateDir: string, { timeoutMs = 90_000, signal }: CallOptions = {}): Promise<boolean> {
  const paths = statePaths(stateDir)
  let running = false
  await pollUntil(
    `the end of the lease broker of "${paths.dir}"`,
    { timeoutMs, signal, intervalMs: 5, maxIntervalMs: 100 },
    async () => {
      if (!(await ProcessGuard.isHeld(paths.dir, 'broker'))) return true
      // A broker that has just got the guard has not written its id yet.
      const { pid } = JSON.parse(await readFile(paths.process, 'utf8')) as { pid: number }
      if (!running && isBrokerAlive(pid)) {
        running = true
        process.kill(pid, 'SIGTERM')
      }
      return undefined
    },
  )
  await rm(paths.settings, { force: true })
  return running
}
