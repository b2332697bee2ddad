import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { once } from 'node:events'
import { pollUntil } from '../../../framework/core/index.ts'
import { CAPABILITIES, keepCapabilities, knownCapabilities } from './capability-cache.ts'
import { watchOver } from './caretaker.ts'
import { missingProgram, PROGRAMS } from './programs.ts'

/** `nobody`: a root user's daemon must not be root itself. */
const UNPRIVILEGED_ID = 65_534

/** Why no private daemon can run here; undefined when one can. */
export function missingPart(): string | undefined {
  return missingProgram(['libvirtd', 'qemu', 'virsh'])
}

/** What a daemon has beyond its own Unix socket. */
export interface DaemonSetup {
  /** Lines of libvirtd.conf. */
  config?: readonly string[]
  /** Listen on the network as the configuration says. Default false. */
  listen?: boolean
  /** Further environment variables, for the daemon and for {@link PrivateDaemon.virsh}. */
  env?: Record<string, string>
  /** Arguments of virsh. Default: those for the daemon's Unix socket. */
  connect?: readonly string[]
}

/** A libvirt session daemon of our own, with folders of its own; nothing of the system's is touched. */
export class PrivateDaemon {
  readonly root: string
  readonly socketPath: string
  /** Variables of the daemon's session. */
  readonly env: Record<string, string>
  #setup: DaemonSetup = {}
  #process: ChildProcess | undefined
  readonly #dismissCaretaker: () => void

  private constructor(root: string) {
    this.root = root
    this.#dismissCaretaker = watchOver(root)
    this.socketPath = `${root}/run/libvirt/libvirt-sock`
    this.env = {
      PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
      HOME: `${root}/home`,
      XDG_RUNTIME_DIR: `${root}/run`,
      XDG_CONFIG_HOME: `${root}/config`,
      XDG_CACHE_HOME: `${root}/cache`,
      XDG_DATA_HOME: `${root}/data`,
    }
  }

  static async start(): Promise<PrivateDaemon> {
    const daemon = PrivateDaemon.prepare()
    try {
      await daemon.launch()
      return daemon
    } catch (error) {
      await daemon.stop()
      throw error
    }
  }

  /** Its folders only; {@link launch} starts it. */
  static prepare(): PrivateDaemon {
    // Short: sockets deep below it must not be longer than Linux allows.
    const daemon = new PrivateDaemon(mkdtempSync('/tmp/lv-'))
    for (const folder of ['home', 'run', 'config', 'config/libvirt', 'cache', 'data']) daemon.folder(folder)
    daemon.folder('.')
    // Clients keep what is theirs below it too.
    chmodSync(daemon.root, 0o711)
    daemon.file('config/libvirt/qemu.conf', 'stdio_handler = "file"\n')
    let folder = 'cache'
    for (const part of CAPABILITIES.split('/')) daemon.folder((folder = `${folder}/${part}`))
    for (const { name, path } of knownCapabilities()) {
      copyFileSync(path, `${daemon.root}/${folder}/${name}`)
      daemon.give(`${daemon.root}/${folder}/${name}`)
    }
    return daemon
  }

  get pid(): number {
    return this.#process?.pid as number
  }

  /** A folder below the root that only the daemon's user may enter. */
  folder(name: string): string {
    const path = `${this.root}/${name}`
    mkdirSync(path, { recursive: true })
    chmodSync(path, 0o700)
    this.give(path)
    return path
  }

  /** A file below the root, of the daemon's user. */
  file(name: string, content: string | Uint8Array): string {
    const path = `${this.root}/${name}`
    writeFileSync(path, content, { mode: 0o600 })
    this.give(path)
    return path
  }

  /** A folder below the root that only this process's user may enter. */
  clientFolder(name: string): string {
    const path = `${this.root}/${name}`
    mkdirSync(path, { mode: 0o700 })
    return path
  }

  /** Makes the daemon's user the owner. */
  give(path: string): void {
    if (process.getuid?.() === 0) chownSync(path, UNPRIVILEGED_ID, UNPRIVILEGED_ID)
  }

  /** Changes what the daemon has from its next {@link launch} on. */
  configure(setup: DaemonSetup): void {
    this.#setup = setup
    this.file('config/libvirt/libvirtd.conf', [...(setup.config ?? []), ''].join('\n'))
  }

  /** Starts a program as the daemon's user: its pid is the child's. It is in a session of its own. */
  spawn(argv: readonly string[], env: Record<string, string>): ChildProcess {
    const drop = ['--reuid', `${UNPRIVILEGED_ID}`, '--regid', `${UNPRIVILEGED_ID}`, '--clear-groups', '--']
    // setpriv replaces itself by the program.
    const [file, ...args] = process.getuid?.() === 0 ? [PROGRAMS.setpriv, ...drop, ...argv] : argv
    return spawn(file as string, args, { env, stdio: ['ignore', 'ignore', 'pipe'], detached: true })
  }

  /** Starts the daemon process (again). */
  async launch(): Promise<void> {
    // A session that nobody uses ends by itself.
    const command = [PROGRAMS.libvirtd, '-p', `${this.root}/libvirtd.pid`, '--timeout', '30']
    const child = this.spawn([...command, ...(this.#setup.listen ? ['--listen'] : [])], {
      ...this.env,
      ...this.#setup.env,
    })
    this.#process = child
    let log = ''
    child.stderr?.on('data', (text) => (log = `${log}${text}`.slice(-4000)))
    await pollUntil('the daemon’s start', { timeoutMs: 60_000 }, async () => {
      if (child.exitCode !== null) return true
      try {
        this.virsh('version')
        return true
      } catch {
        return undefined
      }
    })
    if (child.exitCode !== null) throw new Error(`libvirtd ended with ${child.exitCode}: ${log}`)
  }

  /** What libvirt's own client prints. Throws when it fails, with what it says. */
  virsh(...args: string[]): string {
    const connect = this.#setup.connect ?? ['-c', `qemu+unix:///session?socket=${this.socketPath}`]
    return execFileSync(PROGRAMS.virsh, [...connect, ...args], {
      env: { ...this.env, ...this.#setup.env },
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 60_000,
    })
  }

  /** Whether its process is there, stopped or not. */
  get alive(): boolean {
    const child = this.#process
    return child !== undefined && child.exitCode === null && child.signalCode === null
  }

  async kill(signal: NodeJS.Signals): Promise<void> {
    const child = this.#process
    if (!child || !this.alive) return
    child.kill(signal)
    if (signal === 'SIGKILL' || signal === 'SIGTERM') await once(child, 'exit')
  }

  /** Pid of a domain's QEMU. */
  qemuPid(name: string): number {
    return Number(readFileSync(`${this.#qemuRun}/${name}.pid`, 'utf8'))
  }

  get #qemuRun(): string {
    return `${this.root}/run/libvirt/qemu/run`
  }

  /** Ends every VM, the daemon, and its folders, whatever state a test left them in. */
  async stop(): Promise<void> {
    await this.kill('SIGCONT')
    await this.kill('SIGTERM')
    const files = existsSync(this.#qemuRun) ? readdirSync(this.#qemuRun).filter((file) => file.endsWith('.pid')) : []
    for (const file of files) {
      try {
        process.kill(this.qemuPid(file.slice(0, -'.pid'.length)), 'SIGKILL')
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
      }
    }
    keepCapabilities(`${this.root}/cache`)
    rmSync(this.root, { recursive: true, force: true, maxRetries: 5 })
    this.#dismissCaretaker()
  }
}
