import { execFileSync } from 'node:child_process'
import { chmodSync, copyFileSync } from 'node:fs'
import type { HostInfo } from '../../../framework/hosts/index.ts'
import { freePorts } from './free-ports.ts'
import { LabCa, type Credentials } from './lab-ca.ts'
import { LabSshd } from './lab-sshd.ts'
import { PrivateDaemon } from './private-daemon.ts'
import { missingProgram, PROGRAMS } from './programs.ts'
import { makeSaslAccounts, saslAccess } from './sasl-accounts.ts'

/** What a remote host offers besides its Unix socket. `sasl-…` demands a password there; it excludes the same without. */
export type Listener = 'tcp' | 'tls' | 'ssh' | 'sasl-unix' | 'sasl-tcp' | 'sasl-tls'

/** A way to reach the daemon. */
export type Way = 'unix' | 'tcp' | 'tls' | 'ssh' | 'ssh-netcat'

export interface RemoteHostOptions {
  listen: readonly Listener[]
  /** The server's certificate: valid for localhost, for another host, or expired. Default valid. */
  certificate?: 'valid' | 'wrong-name' | 'expired'
  /** Further lines of libvirtd.conf. */
  config?: readonly string[]
}

/** Certificates of a host with TLS. */
export interface Certificates {
  ca: LabCa
  foreignCa: LabCa
  /** For a server of the test's own at 127.0.0.1, ::1 or localhost. */
  server: Credentials
  client: Credentials
  foreignClient: Credentials
  /** Folder of the CA and the client's certificate under the names libvirt's own clients look for. */
  pkipath: string
}

/** Names the server's certificate holds. 127.0.0.2 is none of them. */
const SERVER_NAMES = ['DNS:localhost', 'IP:127.0.0.1', 'IP:::1']
const START_ATTEMPTS = 3
const VIRSH_MAX_BYTES = 64 * 1024 * 1024

/** Why no such host can run here; undefined when one can. */
export function missingHostPart(listen: readonly Listener[]): string | undefined {
  const sasl = listen.some((listener) => listener.startsWith('sasl-'))
  return missingProgram([
    'libvirtd',
    'qemu',
    'virsh',
    ...(listen.some((listener) => listener.endsWith('tls')) ? (['openssl'] as const) : []),
    ...(listen.includes('ssh') ? (['sshd', 'ssh', 'sshKeygen', 'virtSshHelper', 'nc'] as const) : []),
    ...(sasl ? (['saslpasswd2'] as const) : []),
  ])
}

/**
 * A hypervisor host that is reached across the loopback interface as hosts are across a network. All its processes
 * are an ordinary user's; they end with {@link stop}, or with the process that started them.
 */
export class RemoteHost {
  readonly daemon: PrivateDaemon
  readonly #listen: readonly Listener[]
  readonly #ports: { tcp: number; tls: number }
  readonly #tls: Certificates | undefined
  readonly #sshd: LabSshd | undefined
  readonly #env: Record<string, string>

  private constructor(options: RemoteHostOptions, [tcp = 0, tls = 0, ssh = 0]: number[]) {
    const { listen } = options
    const daemon = PrivateDaemon.prepare()
    this.daemon = daemon
    this.#listen = listen
    this.#ports = { tcp, tls }
    const sasl = listen.some((listener) => listener.startsWith('sasl-'))
    this.#env = sasl ? makeSaslAccounts(daemon) : {}
    const config = [
      'listen_addr = "127.0.0.1"',
      `listen_tcp = ${listen.includes('tcp') || listen.includes('sasl-tcp') ? 1 : 0}`,
      `tcp_port = "${tcp}"`,
      `auth_tcp = "${listen.includes('sasl-tcp') ? 'sasl' : 'none'}"`,
      `auth_unix_rw = "${listen.includes('sasl-unix') ? 'sasl' : 'none'}"`,
    ]
    if (listen.includes('tls') || listen.includes('sasl-tls')) {
      this.#tls = makeCertificates(daemon)
      const server = issueServer(daemon, this.#tls.ca, options.certificate ?? 'valid')
      config.push(
        'listen_tls = 1',
        `tls_port = "${tls}"`,
        `auth_tls = "${listen.includes('sasl-tls') ? 'sasl' : 'none'}"`,
        `ca_file = "${daemon.root}/server-pki/ca.pem"`,
        `cert_file = "${server.cert}"`,
        `key_file = "${server.key}"`,
        // It would refuse to start with a certificate that clients must refuse.
        `tls_no_sanity_certificate = ${options.certificate === undefined || options.certificate === 'valid' ? 0 : 1}`,
      )
    } else config.push('listen_tls = 0')
    const network = listen.some((listener) => listener.endsWith('tcp') || listener.endsWith('tls'))
    daemon.configure({ listen: network, config: [...config, ...(options.config ?? [])], env: this.#env })
    this.#sshd = listen.includes('ssh') ? new LabSshd(daemon, ssh) : undefined
  }

  static async start(options: RemoteHostOptions): Promise<RemoteHost> {
    for (let attempt = 1; ; attempt++) {
      const host = new RemoteHost(options, await freePorts(3))
      try {
        await host.daemon.launch()
        await host.#sshd?.launch()
        return host
      } catch (error) {
        await host.stop()
        // Somebody else may have taken a port in between.
        if (attempt === START_ATTEMPTS || !/in use/.test(String(error))) throw error
      }
    }
  }

  /** @throws when it was started without TLS. */
  get tls(): Certificates {
    if (!this.#tls) throw new Error('this host was started without TLS')
    return this.#tls
  }

  /** @throws when it was started without ssh. */
  get sshd(): LabSshd {
    if (!this.#sshd) throw new Error('this host was started without ssh')
    return this.#sshd
  }

  /** Port of the daemon behind a way that has one. */
  port(way: Exclude<Way, 'unix'>): number {
    if (way === 'tcp') return this.#ports.tcp
    return way === 'tls' ? this.#ports.tls : this.sshd.port
  }

  /**
   * How the host is reached on one way. `at` replaces address and port, where something stands in between.
   * libvirt's own clients understand the same URI.
   */
  info(way: Way, at: { host?: string; port?: number } = {}): HostInfo {
    const id = `lab-${way}`
    const sasl = this.#listen.some((listener) => listener.startsWith('sasl-')) ? saslAccess() : undefined
    if (way === 'unix') return { id, uri: `qemu+unix:///session?socket=${this.daemon.socketPath}`, access: { sasl } }
    const authority = `${at.host ?? '127.0.0.1'}:${at.port ?? this.port(way)}`
    if (way === 'tcp') return { id, uri: `qemu+tcp://${authority}/session`, access: { sasl } }
    if (way === 'tls') {
      const { pkipath } = this.tls
      return { id, uri: `qemu+tls://${authority}/session?pkipath=${pkipath}`, access: { sasl } }
    }
    const { user, userKey, sshProgram } = this.sshd
    const socket = way === 'ssh-netcat' ? `&socket=${this.daemon.socketPath}` : ''
    const uri = `qemu+ssh://${user}@${authority}/session?keyfile=${userKey}&command=${sshProgram}${socket}`
    return { id, uri, access: { sasl, allow: ['command'] } }
  }

  /** What libvirt's own client prints on one way. Throws when it fails, with what it says. */
  virsh(way: Way, ...args: string[]): string {
    const { uri } = this.info(way)
    return execFileSync(PROGRAMS.virsh, ['-c', uri, ...args], {
      env: { ...this.daemon.env, ...this.#env },
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 60_000,
      maxBuffer: VIRSH_MAX_BYTES,
    })
  }

  /** Ends the daemon by the signal, unless it has ended, and starts it again with the same addresses. VMs go on. */
  async restart(signal: 'SIGKILL' | 'SIGTERM' = 'SIGTERM'): Promise<void> {
    await this.daemon.kill(signal)
    await this.daemon.launch()
  }

  /** Ends everything, whatever state a test left it in. */
  async stop(): Promise<void> {
    await this.#sshd?.stop()
    await this.daemon.stop()
  }
}

function makeCertificates(daemon: PrivateDaemon): Certificates {
  const ca = new LabCa(daemon.clientFolder('lab-ca'), 'Lab CA')
  const foreignCa = new LabCa(daemon.clientFolder('foreign-ca'), 'Foreign CA')
  const client = ca.issue('lab-client', { use: 'client' })
  const foreignClient = foreignCa.issue('foreign-client', { use: 'client' })
  const pkipath = daemon.clientFolder('client-pki')
  copyFileSync(ca.cert, `${pkipath}/cacert.pem`)
  copyFileSync(client.cert, `${pkipath}/clientcert.pem`)
  copyFileSync(client.key, `${pkipath}/clientkey.pem`)
  const server = ca.issue('lab-server', { use: 'server', names: SERVER_NAMES })
  return { ca, foreignCa, server, client, foreignClient, pkipath }
}

function issueServer(
  daemon: PrivateDaemon,
  ca: LabCa,
  kind: NonNullable<RemoteHostOptions['certificate']>,
): Credentials {
  const issued = ca.issue('lab-host', {
    use: 'server',
    names: kind === 'wrong-name' ? ['DNS:elsewhere.example'] : SERVER_NAMES,
    days: kind === 'expired' ? -1 : 2,
  })
  const folder = daemon.folder('server-pki')
  const files = { cert: `${folder}/cert.pem`, key: `${folder}/key.pem` }
  for (const [from, to] of [
    [ca.cert, `${folder}/ca.pem`],
    [issued.cert, files.cert],
    [issued.key, files.key],
  ] as const) {
    copyFileSync(from, to)
    chmodSync(to, 0o600)
    daemon.give(to)
  }
  return files
}
