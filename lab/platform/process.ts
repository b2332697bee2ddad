import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { addRedaction, connectError, pollUntil, withDeadline, type CallOptions } from '../../framework/core/index.ts'
import { withLock } from '../lock.ts'
import { labPaths } from '../paths.ts'
import type { LabConfig } from '../provider.ts'

/** How a stand-in platform is reached. Plain JSON, with secrets in it. */
export interface PlatformAccess {
  /** In the owner tags of its VMs. */
  owner: string
  url: string
  username: string
  password: string
  /** For the header `Fault-Token` of calls to `/stand-in/…`. */
  faultToken: string
  /** Template of pools that name none: the lab's machine profile. */
  template: string
  /** Its hypervisor hosts, with the libvirt URIs under which their VMs are found. */
  hosts: { id: string; name: string; ip: string; uri: string }[]
}

/** What the process of a platform prints: progress, then whether it answers. */
export type ServeMessage = { progress: string } | { ready: PlatformAccess } | { failed: string }

/** A platform in a process of its own. */
export interface PlatformProcess {
  readonly access: PlatformAccess
  /** Resolves when the process has ended, with `true` if nobody had asked it to. */
  readonly ended: Promise<boolean>
  /** Ends it with its VMs; resolves when both are gone. @throws `ATP_LAB_PLATFORM_END` */
  end(): Promise<void>
}

export interface PlatformProcessOptions extends CallOptions {
  config?: LabConfig
  /** One line for whoever watches. */
  onProgress?: (text: string) => void
}

const PROGRAM = 'platform/serve-main'
const START_TIMEOUT_MS = 600_000
const END_TIMEOUT_MS = 90_000

const recordFile = () => join(labPaths().home, 'platform', 'kept.json')

/**
 * Starts a platform that ends with its VMs when this process ends, however it ends. Its state is in memory, its
 * password made for it.
 *
 * @throws `ATP_LAB_PLATFORM_START` with the cause, `ATP_INTERRUPTED`, `ATP_TIMEOUT`
 */
export async function startOwnPlatform(options: PlatformProcessOptions = {}): Promise<PlatformProcess> {
  const child = launch(options.config ?? {}, ['pipe', 'pipe', 'inherit'])
  let asked = false
  const ended = once(child, 'exit').then(() => !asked)
  ended.catch(() => {})
  // A pipe whose reader has died.
  child.stdin?.on('error', () => {})
  const end = async () => {
    asked = true
    child.stdin?.end()
    await withDeadline('the end of the stand-in platform', { timeoutMs: END_TIMEOUT_MS }, () => ended).catch(
      (error) => {
        child.kill('SIGKILL')
        throw connectError('ATP_LAB_PLATFORM_END', `the stand-in platform did not end: ${String(error)}`, {
          cause: error,
          remedy: 'run `atp gc`: it removes the VMs of a platform that is gone',
        })
      },
    )
    if (child.exitCode === 0) return
    const how = child.signalCode ?? `exit code ${child.exitCode}`
    throw connectError('ATP_LAB_PLATFORM_END', `the stand-in platform ended with ${how}; VMs of it may be left`, {
      remedy: 'run `atp gc`: it removes the VMs of a platform that is gone',
    })
  }
  try {
    return { access: await ready(child, options), ended, end }
  } catch (error) {
    // It undoes what it has made; nobody needs to wait for that.
    child.stdin?.end()
    throw error
  }
}

/**
 * Starts a platform that lives until {@link endKeptPlatform}, unless there is one. Its database is the one of
 * `atp lab platform`.
 *
 * @throws as {@link startOwnPlatform}
 */
export async function keepPlatform(options: PlatformProcessOptions = {}): Promise<PlatformAccess> {
  const record = recordFile()
  mkdirSync(dirname(record), { recursive: true, mode: 0o700 })
  const bounds = { timeoutMs: START_TIMEOUT_MS, ...options }
  return withLock(`platform ${record}`, bounds, async () => {
    const kept = await keptPlatform()
    if (kept) return kept.access
    const log = openSync(join(dirname(record), 'platform.log'), 'w', 0o600)
    const child = launch(options.config ?? {}, ['ignore', 'pipe', log], ['--record', record])
    closeSync(log)
    try {
      return await ready(child, options)
    } catch (error) {
      child.kill('SIGTERM')
      throw error
    } finally {
      child.stdout?.destroy()
      child.unref()
    }
  })
}

/** The platform that `atp lab up` started, if it lives. */
export async function keptPlatform(): Promise<{ pid: number; access: PlatformAccess } | undefined> {
  const record = recordFile()
  let text: string
  try {
    text = await readFile(record, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  const { pid, ...access } = JSON.parse(text) as PlatformAccess & { pid: number }
  if (!(await lives(pid, record))) return undefined
  addRedaction(access.password)
  return { pid, access }
}

/** Where it is written how the kept platform is reached. */
export const keptPlatformRecord = recordFile

/** Ends the platform that `atp lab up` started, with its VMs. Returns whether there was one. @throws `ATP_TIMEOUT` */
export async function endKeptPlatform(options: CallOptions = {}): Promise<boolean> {
  const kept = await keptPlatform()
  if (!kept) return false
  process.kill(kept.pid, 'SIGTERM')
  const bounds = { timeoutMs: END_TIMEOUT_MS, ...options }
  await pollUntil('the end of the stand-in platform', bounds, async () =>
    (await lives(kept.pid, recordFile())) ? undefined : true,
  )
  return true
}

/** Whether this process is the one that wrote the record: a stale one may name a process of somebody else. */
async function lives(pid: number, record: string): Promise<boolean> {
  const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0')
  return words.includes(record) && words.some((word) => word.includes(PROGRAM))
}

function launch(config: LabConfig, stdio: ('ignore' | 'pipe' | 'inherit' | number)[], more: string[] = []) {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
  const program = fileURLToPath(new URL(`serve-main.${extension}`, import.meta.url))
  // A debugger's or coverage tool's options are meant for the one who starts it.
  const { NODE_OPTIONS: _options, NODE_V8_COVERAGE: _coverage, ...env } = process.env
  return spawn(process.execPath, [program, '--config', JSON.stringify(config), ...more], {
    // Ctrl-C at the terminal is for its owner.
    detached: true,
    stdio: stdio as 'pipe'[],
    env,
  })
}

/** Reads what the process prints until it answers. */
async function ready(child: ChildProcess, options: PlatformProcessOptions): Promise<PlatformAccess> {
  const { onProgress, signal, timeoutMs = START_TIMEOUT_MS } = options
  const failed = (why: string) =>
    connectError('ATP_LAB_PLATFORM_START', `the stand-in platform did not start: ${why}`, {
      remedy: '`atp doctor` says what the lab lacks',
    })
  const answer = new Promise<PlatformAccess>((resolve, reject) => {
    child.once('error', (error) => reject(failed(error.message)))
    child.once('exit', (code, how) => reject(failed(`it ended with ${how ?? `exit code ${code}`}`)))
    const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })
    lines.on('line', (line) => {
      const message = messageOfLine(line)
      if (!message) reject(failed(`it printed "${line}"`))
      else if ('progress' in message) onProgress?.(message.progress)
      else if ('failed' in message) reject(failed(message.failed))
      else resolve(message.ready)
    })
  })
  // Also when the deadline was faster.
  answer.catch(() => {})
  const access = await withDeadline('starting the stand-in platform', { timeoutMs, signal }, () => answer)
  addRedaction(access.password)
  return access
}

function messageOfLine(line: string): ServeMessage | undefined {
  try {
    return JSON.parse(line) as ServeMessage
  } catch {
    return undefined
  }
}
