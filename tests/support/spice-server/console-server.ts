import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pollUntil, Secret } from '../../../framework/core/index.ts'
import { spiceServer, type SpiceServerOptions } from '../../../framework/hosts/spice-carriers.ts'
import { QmpClient } from '../../../framework/protocols/qmp/index.ts'
import type { SpiceServer } from '../../../framework/protocols/spice/index.ts'
import { connectUnix } from '../../../framework/transport/index.ts'
import { freePorts } from '../remote-host/free-ports.ts'
import { LabCa } from '../remote-host/lab-ca.ts'
import { LIBRARIES, PROGRAMS } from '../remote-host/programs.ts'
import { Qtest } from './qtest.ts'

export interface ConsoleServerOptions {
  /** Where it listens. Default `tcp`. */
  listen?: 'tcp' | 'tls' | 'both' | 'unix'
  /** Password of the console. Default: it asks for none. */
  ticket?: string
  /** SASL mechanism to offer, with the account {@link SASL_USER}. */
  sasl?: 'plain' | 'scram-sha-256' | 'digest-md5'
  /** Channels that are opened over TLS only. */
  tlsChannels?: readonly string[]
  /** More arguments for QEMU: devices. */
  qemuArguments?: readonly string[]
}

export const SASL_USER = 'console-user'
export const SASL_PASSWORD = 'pencil ª ⅸ 密码'

/** A processor's first instruction is 16 bytes below the end of its firmware: interrupts off, then sleep for good. */
const SLEEPING_FIRMWARE = new Uint8Array(64 * 1024)
SLEEPING_FIRMWARE.set([0xfa, 0xf4, 0xeb, 0xfd], SLEEPING_FIRMWARE.length - 16)
const START_MS = 30_000
const SERVER_NAME = 'spice.test'

/** Every channel that QEMU has, but those of a display. */
export const ALL_DEVICES: readonly string[] = [
  ['-device', 'qemu-xhci', '-device', 'usb-redir,chardev=usb0', '-chardev', 'spicevmc,id=usb0,name=usbredir'],
  ['-device', 'virtio-serial-pci', '-device', 'virtserialport,chardev=port0,name=test.port'],
  ['-chardev', 'spiceport,id=port0,name=test.port'],
  ['-device', 'virtserialport,chardev=dav0,name=org.spice-space.webdav.0'],
  ['-chardev', 'spiceport,id=dav0,name=org.spice-space.webdav.0'],
  ['-device', 'usb-ccid', '-device', 'ccid-card-passthru,chardev=card0'],
  ['-chardev', 'spicevmc,id=card0,name=smartcard'],
  ['-audiodev', 'spice,id=audio0', '-device', 'AC97,audiodev=audio0'],
].flat()

/** A real QEMU with a SPICE console whose processor sleeps; its keyboard is read through {@link qtest}. */
export class ConsoleServer {
  readonly port: number | undefined
  readonly tlsPort: number | undefined
  readonly path: string
  /** PEM of the CA that signed the server's certificate, and of a client certificate with its key. */
  readonly ca: string
  readonly client: { cert: string; key: string }
  readonly qmp: QmpClient
  readonly qtest: Qtest
  readonly #child: ChildProcess
  readonly #folder: string

  private constructor(
    place: { port: number | undefined; tlsPort: number | undefined; path: string },
    certificates: Certificates,
    owned: { child: ChildProcess; folder: string; qmp: QmpClient; qtest: Qtest },
  ) {
    this.port = place.port
    this.tlsPort = place.tlsPort
    this.path = place.path
    this.ca = certificates.ca
    this.client = certificates.client
    this.qmp = owned.qmp
    this.qtest = owned.qtest
    this.#child = owned.child
    this.#folder = owned.folder
  }

  static async start(options: ConsoleServerOptions = {}): Promise<ConsoleServer> {
    const { listen = 'tcp', ticket } = options
    const folder = await mkdtemp(join(tmpdir(), 'spice-console-'))
    let child: ChildProcess | undefined
    try {
      await writeFile(join(folder, 'firmware'), SLEEPING_FIRMWARE)
      const secured = listen === 'tls' || listen === 'both'
      const certificates = secured ? await makeCertificates(folder) : { ca: '', client: { cert: '', key: '' } }
      const [plainPort, tlsPort] = (await freePorts(2)) as [number, number]
      const place = {
        port: listen === 'tcp' || listen === 'both' ? plainPort : undefined,
        tlsPort: secured ? tlsPort : undefined,
        path: join(folder, 'console'),
      }
      const env = options.sasl ? { ...process.env, ...(await makeAccounts(folder, options.sasl)) } : process.env
      child = spawn(PROGRAMS.qemu, qemuArguments(folder, place, options), {
        stdio: ['ignore', 'inherit', 'inherit'],
        env,
      })
      await once(child, 'spawn')
      const stream = await socketOf(child, () => connectUnix(join(folder, 'qmp')))
      const qmp = await QmpClient.overStream(stream, { timeoutMs: START_MS })
      const qtest = await Qtest.connect(join(folder, 'qtest'))
      const server = new ConsoleServer(place, certificates, { child, folder, qmp, qtest })
      if (ticket !== undefined) await server.setTicket(ticket)
      return server
    } catch (error) {
      await end(child, folder)
      throw error
    }
  }

  /** False once QEMU has ended. */
  get alive(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  /** The server as sessions want it. TLS verifies with {@link ca} unless told otherwise. */
  server(options: Omit<SpiceServerOptions, 'password'> & { password?: string } = {}): SpiceServer {
    const { password, ...rest } = options
    const tls = { ca: this.ca, servername: SERVER_NAME, ...options.tls }
    const all = { ...rest, tls, ...(password !== undefined && { password: new Secret('test ticket', password) }) }
    if (this.port === undefined && this.tlsPort === undefined)
      return spiceServer({ kind: 'unix', path: this.path }, all)
    return spiceServer({ kind: 'tcp', host: '127.0.0.1', port: this.port, tlsPort: this.tlsPort }, all)
  }

  async setTicket(ticket: string): Promise<void> {
    await this.qmp.execute('set_password', { protocol: 'spice', password: ticket })
  }

  /** One byte that the PS/2 controller holds for the guest, undefined when there is none. */
  async keyboardByte(): Promise<number | undefined> {
    const status = await this.qtest.in('b', 0x64)
    return (status & 1) === 1 ? await this.qtest.in('b', 0x60) : undefined
  }

  /** Bytes of the PS/2 controller until `count` came, or the limit passed. */
  async keyboardBytes(count: number, timeoutMs = 5000): Promise<number[]> {
    const bytes: number[] = []
    const endMs = performance.now() + timeoutMs
    while (bytes.length < count && performance.now() < endMs) {
      const byte = await this.keyboardByte()
      if (byte !== undefined) bytes.push(byte)
    }
    return bytes
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.qmp.close()
    this.qtest.close()
    await end(this.#child, this.#folder)
  }
}

interface Certificates {
  ca: string
  client: { cert: string; key: string }
}

function qemuArguments(
  folder: string,
  { port, tlsPort, path }: { port: number | undefined; tlsPort: number | undefined; path: string },
  { ticket, sasl, tlsChannels = [], qemuArguments = [] }: ConsoleServerOptions,
): string[] {
  const spice = [
    ...(port === undefined ? [] : [`port=${port}`]),
    ...(tlsPort === undefined ? [] : [`tls-port=${tlsPort}`, `x509-dir=${join(folder, 'pki')}`]),
    port === undefined && tlsPort === undefined ? `unix=on,addr=${path}` : 'addr=127.0.0.1',
    ...(ticket === undefined && !sasl ? ['disable-ticketing=on'] : []),
    ...(sasl ? ['sasl=on'] : []),
    ...tlsChannels.map((channel) => `tls-channel=${channel}`),
  ]
  return [
    ['-nodefaults', '-display', 'none', '-machine', 'pc,accel=tcg', '-m', '16', '-bios', join(folder, 'firmware')],
    ['-qtest', `unix:${join(folder, 'qtest')},server=on,wait=off`, '-qtest-log', '/dev/null'],
    ['-qmp', `unix:${join(folder, 'qmp')},server=on,wait=off`],
    ['-device', 'qxl-vga', '-spice', spice.join(','), ...qemuArguments],
  ].flat()
}

async function makeCertificates(folder: string): Promise<Certificates> {
  const pki = join(folder, 'pki')
  await mkdir(pki)
  const ca = new LabCa(pki, 'SPICE test CA')
  const server = ca.issue(SERVER_NAME, { use: 'server', names: [`DNS:${SERVER_NAME}`] })
  const client = ca.issue('SPICE test client', { use: 'client' })
  await copyFile(ca.cert, join(pki, 'ca-cert.pem'))
  await copyFile(server.cert, join(pki, 'server-cert.pem'))
  await copyFile(server.key, join(pki, 'server-key.pem'))
  const [caText, cert, key] = await Promise.all(
    [ca.cert, client.cert, client.key].map((file) => readFile(file, 'utf8')),
  )
  return { ca: caText as string, client: { cert: cert as string, key: key as string } }
}

async function makeAccounts(folder: string, mechanism: string): Promise<Record<string, string>> {
  const database = join(folder, 'sasldb2')
  const lines = [`mech_list: ${mechanism}`, 'pwcheck_method: auxprop', `sasldb_path: ${database}`]
  await writeFile(join(folder, 'qemu.conf'), `${lines.join('\n')}\n`)
  const env = { SASL_CONF_PATH: folder, SASL_PATH: `${LIBRARIES}/sasl2:/usr/lib/x86_64-linux-gnu/sasl2` }
  execFileSync(PROGRAMS.saslpasswd2, ['-p', '-c', '-a', 'qemu', '-f', database, SASL_USER], {
    input: SASL_PASSWORD,
    env: { ...process.env, LD_LIBRARY_PATH: LIBRARIES, ...env },
    stdio: ['pipe', 'ignore', 'pipe'],
  })
  return env
}

/** Waits until QEMU listens; a QEMU that ends first is an error at once. */
function socketOf<T>(child: ChildProcess, connect: () => Promise<T>): Promise<T> {
  return pollUntil('QEMU to open its monitor', { timeoutMs: START_MS }, async () => {
    if (child.exitCode !== null) throw new Error(`QEMU ended with ${child.exitCode}`)
    return connect().catch(() => undefined)
  })
}

async function end(child: ChildProcess | undefined, folder: string): Promise<void> {
  if (child && child.exitCode === null && child.signalCode === null) {
    const gone = once(child, 'exit')
    child.kill('SIGKILL')
    await gone
  }
  await rm(folder, { recursive: true, force: true })
}
