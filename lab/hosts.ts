import { spawn } from 'node:child_process'
import { chmod, mkdir, open, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import {
  configError,
  connectError,
  isAtpError,
  messageOf,
  pollUntil,
  unsupportedError,
  withDeadline,
  type CallOptions,
} from '../framework/core/index.ts'
import { LibvirtClient } from '../framework/protocols/libvirt/index.ts'
import { connectUnix } from '../framework/transport/index.ts'
import { daemonUser, giveTo, type DaemonUser } from './daemon-user.ts'
import { withLock } from './lock.ts'
import type { LabPaths } from './paths.ts'
import { programEnv, runProgram } from './run-program.ts'
import { makeRuntimeFolder, removeRuntimeFolder } from './runtime-folder.ts'

const START_TIMEOUT_MS = 60_000
const STOP_TIMEOUT_MS = 10_000
/** A daemon without clients and VMs ends by itself, so that a forgotten lab costs nothing. */
const IDLE_S = 300
const LOG_TAIL_BYTES = 8192

/** A hypervisor host of the lab: an unprivileged libvirt session daemon with folders of its own. */
export interface LabHost {
  /** `lab-1` */
  id: string
  uri: string
  folder: string
  socket: string
  pidFile: string
  /** The daemon's own log. */
  log: string
}

/** Host number `index`, counted from 1. Nothing is started or made. */
export function labHost(paths: LabPaths, index: number): LabHost {
  const folder = join(paths.hosts, String(index))
  const socket = join(folder, 'r/libvirt/libvirt-sock')
  return {
    id: `lab-${index}`,
    uri: `qemu+unix:///session?socket=${encodeURI(socket)}`,
    folder,
    socket,
    pidFile: join(folder, 'pid'),
    log: join(folder, 'libvirtd.log'),
  }
}

const runtimeFolder = (host: LabHost) => join(host.folder, 'r')

/** Every host that was ever started here, running or not. */
export async function knownHosts(paths: LabPaths): Promise<LabHost[]> {
  const names = await readdir(paths.hosts).catch(() => [] as string[])
  return names
    .map(Number)
    .filter((index) => Number.isInteger(index) && index > 0)
    .toSorted((a, b) => a - b)
    .map((index) => labHost(paths, index))
}

/** Process id of the host's daemon, or undefined when it does not run. */
export async function daemonPid(host: LabHost): Promise<number | undefined> {
  const pid = Number(await readFile(host.pidFile, 'utf8').catch(() => ''))
  if (!Number.isInteger(pid) || pid <= 0) return undefined
  // A stale file may name a process of somebody else by now.
  const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
  return commandLine.split('\0').includes(host.pidFile) ? pid : undefined
}

/** Whether the host has a daemon, or VMs that outlived one. */
export async function hostInUse(host: LabHost): Promise<boolean> {
  return (await daemonPid(host)) !== undefined || (await vmPids(host)).length > 0
}

/** Process ids of the host's QEMUs, also of those whose daemon is gone. */
export async function vmPids(host: LabHost): Promise<number[]> {
  const folder = join(host.folder, 'r/libvirt/qemu/run')
  const names = await readdir(folder).catch(() => [] as string[])
  const pids = names
    .filter((name) => name.endsWith('.pid') && name !== 'driver.pid')
    .map(async (name) => {
      const pid = Number(await readFile(join(folder, name), 'utf8').catch(() => ''))
      const commandLine = pid > 0 ? await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '') : ''
      return commandLine.includes(host.folder) ? [pid] : []
    })
  return (await Promise.all(pids)).flat()
}

/** A client of the host's daemon. */
export async function openHost(host: LabHost, options: CallOptions = {}): Promise<LibvirtClient> {
  return LibvirtClient.open(await connectUnix(host.socket, options), { path: '/session', ...options })
}

/**
 * Starts the host's daemon unless it runs; resolves when it answers. Several processes may ask at once.
 *
 * @throws `ATP_LAB_HOST_START` with the end of the daemon's log, `ATP_LAB_USER`, `ATP_INTERRUPTED`.
 */
export async function startHost(host: LabHost, options: CallOptions = {}): Promise<void> {
  if (await answers(host, options)) return
  await withLock(`host ${host.folder}`, { timeoutMs: START_TIMEOUT_MS, ...options }, async () => {
    if (await answers(host, options)) return
    const user = await daemonUser(options)
    await prepareFolder(host, user)
    await checkReachable(host, user, options)
    await launch(host, user, options)
  })
}

async function answers(host: LabHost, options: CallOptions): Promise<boolean> {
  if ((await daemonPid(host)) === undefined) return false
  try {
    await (await openHost(host, { timeoutMs: START_TIMEOUT_MS, ...options })).close()
    return true
  } catch (error) {
    // A daemon that is just dying still takes a connection, and drops it.
    if (isAtpError(error) && error.branch === 'connect') return false
    throw error
  }
}

/** Short names: every socket path below must stay under Linux' limit. */
async function prepareFolder(host: LabHost, user: DaemonUser): Promise<void> {
  const folders = ['', 'c', 'c/libvirt', 'k', 'd', 'v', 's'].map((name) => join(host.folder, name))
  // What is above belongs to the caller and must let the daemons' user pass, whoever made it.
  const above = dirname(host.folder)
  await mkdir(above, { recursive: true, mode: 0o755 })
  if (user.prefix.length > 0) for (const folder of [above, dirname(above)]) await chmod(folder, 0o755)
  for (const folder of folders) await mkdir(folder, { recursive: true, mode: 0o700 })
  const qemuConf = join(host.folder, 'c/libvirt/qemu.conf')
  const daemonConf = join(host.folder, 'c/libvirt/libvirtd.conf')
  // A logging daemon of its own would outlive this one. Confinement needs the privileged daemon.
  await writeFile(qemuConf, 'stdio_handler = "file"\nsecurity_driver = "none"\n')
  await rm(host.log, { force: true })
  await writeFile(daemonConf, `log_outputs = "3:file:${host.log}"\n`)
  await giveTo(user, ...folders, qemuConf, daemonConf)
  // VMs that outlived their daemon are found again by what it noted there.
  if ((await vmPids(host)).length === 0) await makeRuntimeFolder(runtimeFolder(host), user)
}

/** @throws `ATP_LAB_PATH` when the daemons' user cannot get there: a private home of root, for example. */
async function checkReachable(host: LabHost, user: DaemonUser, options: CallOptions): Promise<void> {
  const [file, ...args] = [...user.prefix, 'test', '-w', host.folder]
  if ((await runProgram(file, args, options)).exitCode === 0) return
  throw configError('ATP_LAB_PATH', `the lab's user "${user.name}" cannot enter ${host.folder}`, {
    remedy: 'set ATP_HOME to a folder below others that every user may enter',
  })
}

/**
 * The daemon's parent collects what the daemon leaves behind: a stopped QEMU belongs to the first process of the
 * machine, and where that one collects late or never (containers), every destroy waits seconds for a zombie.
 */
const REAPER =
  'syscall(157, 36, 1, 0, 0, 0); my $daemon = fork; exec @ARGV unless $daemon; 1 until wait == $daemon; exit $? >> 8'

async function launch(host: LabHost, user: DaemonUser, options: CallOptions): Promise<void> {
  const [file, ...args] = [
    ...user.prefix,
    'perl',
    '-e',
    REAPER,
    'libvirtd',
    '-p',
    host.pidFile,
    '--timeout',
    `${IDLE_S}`,
  ]
  const output = await open(join(host.folder, 'daemon.out'), 'w')
  let failed: string | undefined
  try {
    const daemon = spawn(file, args, {
      cwd: '/',
      detached: true,
      stdio: ['ignore', output.fd, output.fd],
      env: {
        PATH: programEnv()['PATH'],
        HOME: host.folder,
        XDG_RUNTIME_DIR: runtimeFolder(host),
        XDG_CONFIG_HOME: join(host.folder, 'c'),
        XDG_CACHE_HOME: join(host.folder, 'k'),
        XDG_DATA_HOME: join(host.folder, 'd'),
      },
    })
    daemon.once('error', (error) => (failed = messageOf(error)))
    daemon.once('exit', (code, signal) => (failed ??= `libvirtd ended (${signal ?? `exit code ${code}`})`))
    daemon.unref()
  } finally {
    await output.close()
  }
  try {
    await pollUntil(`starting host ${host.id}`, { timeoutMs: START_TIMEOUT_MS, ...options }, async () => {
      return failed ?? ((await answers(host, options)) || undefined)
    }).then((outcome) => {
      if (outcome !== true) throw new Error(outcome)
    })
  } catch (error) {
    if (isAtpError(error, 'ATP_INTERRUPTED')) throw error
    const log = await daemonLog(host)
    throw connectError(
      'ATP_LAB_HOST_START',
      `host ${host.id} in ${host.folder} does not start: ${messageOf(error)}\n${log}`.trimEnd(),
      {
        cause: error,
        context: { host: host.id, folder: host.folder },
        remedy: 'the log above names the cause; "atp lab down" and "atp lab up" start afresh',
      },
    )
  }
}

/** The end of what the daemon wrote. */
export async function daemonLog(host: LabHost): Promise<string> {
  const texts = await Promise.all(
    [join(host.folder, 'daemon.out'), host.log].map((file) => readFile(file, 'utf8').catch(() => '')),
  )
  return texts.join('').slice(-LOG_TAIL_BYTES)
}

/**
 * Ends the host's daemon. Its VMs are not touched: destroy them first.
 *
 * @throws `ATP_LAB_HOST_STOP` when it cannot be ended.
 */
export async function stopHost(host: LabHost, options: CallOptions = {}): Promise<void> {
  await withLock(`host ${host.folder}`, { timeoutMs: START_TIMEOUT_MS, ...options }, async () => {
    const pid = await daemonPid(host)
    if (pid === undefined) return
    try {
      process.kill(pid, 'SIGTERM')
      await withDeadline(`stopping ${host.id}`, { signal: options.signal, timeoutMs: STOP_TIMEOUT_MS }, (signal) =>
        pollUntil(`the end of ${host.id}`, { signal }, async () =>
          (await daemonPid(host)) === undefined ? true : undefined,
        ),
      ).catch((error: unknown) => {
        if (!isAtpError(error, 'ATP_TIMEOUT')) throw error
        process.kill(pid, 'SIGKILL')
      })
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ESRCH') return
      if ((error as NodeJS.ErrnoException).code !== 'EPERM') throw error
      throw unsupportedError('ATP_LAB_HOST_STOP', `the daemon of ${host.id} (process ${pid}) belongs to another user`, {
        cause: error,
        remedy: 'run this as the user who started the lab',
      })
    }
  })
}

/** Removes what a host keeps in memory, unless somebody uses the host. */
export async function forgetHost(host: LabHost, options: CallOptions = {}): Promise<void> {
  await withLock(`host ${host.folder}`, { timeoutMs: START_TIMEOUT_MS, ...options }, async () => {
    if (!(await hostInUse(host))) await removeRuntimeFolder(runtimeFolder(host))
  })
}
