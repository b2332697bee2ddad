import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import {
  chmodSync,
  chownSync,
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

/** `nobody`: a root user's daemon must not be root itself. */
const UNPRIVILEGED_ID = 65_534
const LIBVIRTD = '/usr/sbin/libvirtd'
const VIRSH = '/usr/bin/virsh'
const QEMU = '/usr/bin/qemu-system-x86_64'

/** Why no private daemon can run here; undefined when one can. */
export function missingPart(): string | undefined {
  for (const program of [LIBVIRTD, QEMU, VIRSH]) if (!existsSync(program)) return `${program} is not installed`
  return undefined
}

/** A libvirt session daemon of our own, with folders of its own; nothing of the system's is touched. */
export class PrivateDaemon {
  readonly root: string
  readonly socketPath: string
  readonly #env: Record<string, string>
  #process: ChildProcess | undefined

  private constructor(root: string) {
    this.root = root
    this.socketPath = `${root}/run/libvirt/libvirt-sock`
    this.#env = {
      PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
      HOME: `${root}/home`,
      XDG_RUNTIME_DIR: `${root}/run`,
      XDG_CONFIG_HOME: `${root}/config`,
      XDG_CACHE_HOME: `${root}/cache`,
      XDG_DATA_HOME: `${root}/data`,
    }
  }

  static async start(): Promise<PrivateDaemon> {
    const root = mkdtempSync('/tmp/lv-')
    const daemon = new PrivateDaemon(root)
    for (const folder of ['home', 'run', 'config', 'config/libvirt', 'cache', 'data']) daemon.folder(folder)
    daemon.folder('.')
    daemon.file('config/libvirt/qemu.conf', 'stdio_handler = "file"\n')
    await daemon.launch()
    return daemon
  }

  get pid(): number {
    return this.#process?.pid as number
  }

  folder(name: string): string {
    const path = `${this.root}/${name}`
    mkdirSync(path, { recursive: true })
    chmodSync(path, 0o700)
    this.#give(path)
    return path
  }

  file(name: string, text: string): string {
    const path = `${this.root}/${name}`
    writeFileSync(path, text)
    this.#give(path)
    return path
  }

  #give(path: string): void {
    if (process.getuid?.() === 0) chownSync(path, UNPRIVILEGED_ID, UNPRIVILEGED_ID)
  }

  /** Starts the daemon process (again). */
  async launch(): Promise<void> {
    // A test run that is killed leaves nothing: its VMs go with their connection, then the daemon.
    const command = [LIBVIRTD, '-p', `${this.root}/libvirtd.pid`, '--timeout', '30']
    const drop = [
      '/usr/bin/setpriv',
      '--reuid',
      `${UNPRIVILEGED_ID}`,
      '--regid',
      `${UNPRIVILEGED_ID}`,
      '--clear-groups',
      '--',
    ]
    const argv = process.getuid?.() === 0 ? [...drop, ...command] : command
    // setpriv replaces itself by the daemon, so the child's pid is the daemon's. It is in a session of its own:
    // whoever kills the test run's process group leaves it alive to clean up.
    const child = spawn(argv[0] as string, argv.slice(1), {
      env: this.#env,
      stdio: ['ignore', 'ignore', 'pipe'],
      detached: true,
    })
    this.#process = child
    let log = ''
    child.stderr?.on('data', (text) => (log = `${log}${text}`.slice(-4000)))
    await pollUntil('the daemon’s start', { timeoutMs: 60_000 }, async () => {
      if (child.exitCode !== null) throw new Error(`libvirtd ended with ${child.exitCode}: ${log}`)
      try {
        this.virsh('version')
        return true
      } catch {
        return undefined
      }
    })
  }

  virsh(...args: string[]): string {
    return execFileSync(VIRSH, ['-c', `qemu+unix:///session?socket=${this.socketPath}`, ...args], {
      env: this.#env,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 60_000,
    })
  }

  async kill(signal: NodeJS.Signals): Promise<void> {
    const child = this.#process
    if (!child || child.exitCode !== null || child.signalCode !== null) return
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
    rmSync(this.root, { recursive: true, force: true, maxRetries: 5 })
  }
}

/** Name of the free channel of {@link tinyDomain}. */
export const CHANNEL = 'com.example.测试.0'

/** A machine without an operating system: firmware only, enough for monitor, events and channels. */
export function tinyDomain(name: string): string {
  return `<domain type='qemu'>
  <name>${name}</name>
  <memory unit='MiB'>32</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices>
    <emulator>${QEMU}</emulator>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <channel type='unix'><target type='virtio' name='${CHANNEL}'/></channel>
    <serial type='pty'/>
    <input type='keyboard' bus='virtio'/>
    <video><model type='vga'/></video>
    <memballoon model='none'/>
  </devices>
</domain>`
}
