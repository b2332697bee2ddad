import { execFileSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { userInfo } from 'node:os'
import { pollUntil } from '../../../framework/core/index.ts'
import { LIBRARIES, PROGRAMS } from './programs.ts'
import type { PrivateDaemon } from './private-daemon.ts'

/**
 * An ssh daemon that runs as the user of a private libvirt daemon and lets nobody but that user in. Programs
 * started through it find the libvirt daemon and nothing of the system's.
 */
export class LabSshd {
  readonly port: number
  /** Who logs in. */
  readonly user: string
  /** Private key that is let in, of this process's user. */
  readonly userKey: string
  /** Private key that is not let in. */
  readonly foreignKey: string
  /** Text by which the keys can be told in logs. */
  readonly keyTexts: readonly string[]
  /** Names the host key there is; what it holds decides whether ssh trusts the host. */
  readonly knownHosts: string
  /** ssh with the settings above and none of its user's. */
  readonly sshProgram: string
  readonly #daemon: PrivateDaemon
  #process: ChildProcess | undefined

  constructor(daemon: PrivateDaemon, port: number) {
    this.#daemon = daemon
    this.port = port
    this.user = process.getuid?.() === 0 ? 'nobody' : userInfo().username
    const client = daemon.clientFolder('ssh-client')
    this.userKey = makeKey(`${client}/user-key`)
    this.foreignKey = makeKey(`${client}/foreign-key`)
    this.keyTexts = [this.userKey, this.foreignKey].map((path) => readFileSync(path, 'utf8').split('\n')[2] as string)
    this.knownHosts = `${client}/known-hosts`
    writeFileSync(`${client}/settings`, clientSettings(this.knownHosts))
    this.sshProgram = `${client}/ssh`
    writeFileSync(this.sshProgram, `#!/bin/sh\nexec ${PROGRAMS.ssh} -F ${client}/settings "$@"\n`, { mode: 0o700 })
    const folder = daemon.folder('ssh')
    makeKey(`${folder}/other-host-key`)
    daemon.give(makeKey(`${folder}/host-key`))
    this.trust('host-key')
    daemon.file('ssh/authorized-keys', readFileSync(`${this.userKey}.pub`, 'utf8'))
    const bin = daemon.folder('bin')
    symlinkSync(PROGRAMS.nc, `${bin}/nc`)
    // Where root's tests run as nobody, that account has no shell: the daemon gets an account list of its own.
    const { uid = 0, gid = 0 } = { uid: process.getuid?.(), gid: process.getgid?.() }
    const [asUid, asGid] = uid === 0 ? [65_534, 65_534] : [uid, gid]
    daemon.file('ssh/passwd', `${this.user}:x:${asUid}:${asGid}::${daemon.root}/home:/bin/sh\n`)
    daemon.file('ssh/group', `${this.user}:x:${asGid}:\n`)
    daemon.file('ssh/sshd.conf', this.#serverSettings(folder, bin))
  }

  /** Makes ssh expect a key of this host: the one there is, another one, or none; also at ports of proxies. */
  trust(expected: 'host-key' | 'other-host-key' | undefined, ...proxyPorts: number[]): void {
    const ports = [this.port, ...proxyPorts]
    const hosts = ports.flatMap((port) => ['127.0.0.1', '::1', 'localhost'].map((host) => `[${host}]:${port}`))
    const key = expected && readFileSync(`${this.#daemon.root}/ssh/${expected}.pub`, 'utf8')
    writeFileSync(this.knownHosts, key ? `${hosts.join(',')} ${key}` : '')
  }

  async launch(): Promise<void> {
    const folder = `${this.#daemon.root}/ssh`
    const child = this.#daemon.spawn([PROGRAMS.sshd, '-D', '-e', '-f', `${folder}/sshd.conf`], {
      PATH: '/usr/bin:/bin',
      LD_LIBRARY_PATH: LIBRARIES,
      LD_PRELOAD: `${LIBRARIES}/libnss_wrapper.so`,
      NSS_WRAPPER_PASSWD: `${folder}/passwd`,
      NSS_WRAPPER_GROUP: `${folder}/group`,
    })
    this.#process = child
    let log = ''
    child.stderr?.on('data', (text) => (log = `${log}${text}`.slice(-4000)))
    await pollUntil('the ssh daemon’s start', { timeoutMs: 30_000 }, async () => {
      if (child.exitCode !== null) return true
      const socket = connect(this.port, '127.0.0.1')
      try {
        await once(socket, 'data')
        return true
      } catch {
        return undefined
      } finally {
        socket.destroy()
      }
    })
    if (child.exitCode !== null) throw new Error(`sshd ended with ${child.exitCode}: ${log}`)
  }

  async stop(): Promise<void> {
    const child = this.#process
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGTERM')
    await once(child, 'exit')
  }

  #serverSettings(folder: string, bin: string): string {
    const session = {
      ...this.#daemon.env,
      PATH: `${bin}:${this.#daemon.env['PATH']}`,
      // virt-ssh-helper would start the daemon that a test killed.
      LIBVIRT_AUTOSTART: '0',
    }
    return [
      `ListenAddress 127.0.0.1:${this.port}`,
      `HostKey ${folder}/host-key`,
      `PidFile ${folder}/sshd.pid`,
      `AuthorizedKeysFile ${folder}/authorized-keys`,
      'StrictModes no',
      'UsePAM no',
      'PasswordAuthentication no',
      'KbdInteractiveAuthentication no',
      `SetEnv ${Object.entries(session)
        .map(([name, value]) => `${name}=${value}`)
        .join(' ')}`,
      // As many connections at once as a test likes to make.
      'MaxStartups 100',
      '',
    ].join('\n')
  }
}

function makeKey(path: string): string {
  execFileSync(PROGRAMS.sshKeygen, ['-q', '-t', 'ed25519', '-N', '', '-C', 'lab', '-f', path], { timeout: 30_000 })
  return path
}

function clientSettings(knownHosts: string): string {
  return [
    `UserKnownHostsFile ${knownHosts}`,
    'GlobalKnownHostsFile /dev/null',
    'StrictHostKeyChecking yes',
    'IdentitiesOnly yes',
    'IdentityAgent none',
    'BatchMode yes',
    '',
  ].join('\n')
}
