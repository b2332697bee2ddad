import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { once } from 'node:events'
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { checkHost } from '../../../framework/cli/host-check/check-host.ts'
import { sshHelper } from '../../../framework/cli/host-check/ssh-helper.ts'
import type { HostReport } from '../../../framework/cli/host-check/report.ts'
import { Secret } from '../../../framework/core/index.ts'
import type { HostInfo } from '../../../framework/hosts/index.ts'
import { parseLibvirtUri } from '../../../framework/protocols/libvirt/index.ts'
import { project, spec } from '../../lab/project.ts'
import {
  missingHostPart,
  PrivateDaemon,
  RemoteHost,
  SASL_USER,
  tinyDomain,
  type Listener,
  type RemoteHostOptions,
  type Way,
} from '../../support/remote-host/index.ts'

const WAYS: Way[] = ['unix', 'tcp', 'tls', 'ssh', 'ssh-netcat']
const LISTEN: Listener[] = ['tcp', 'tls', 'ssh']

const missing = missingHostPart(LISTEN)
if (missing) console.warn(`tests of "atp host check" are skipped: ${missing}`)
const missingSasl = missingHostPart(['sasl-unix', 'sasl-tcp'])
if (missingSasl) console.warn(`tests of "atp host check" with SASL are skipped: ${missingSasl}`)

const check = (info: HostInfo): Promise<HostReport> =>
  checkHost({ id: info.id, uri: info.uri, origin: 'test', info: () => info, connectTimeoutMs: 10_000 })

/** The last finding, at which the check ended. */
const end = (report: HostReport) => report.findings.at(-1)

describe.skipIf(missing)('a host that is well', () => {
  let host: RemoteHost
  beforeAll(async () => {
    host = await RemoteHost.start({ listen: LISTEN })
    host.daemon.virsh('create', host.daemon.file('vm.xml', tinyDomain('桌面-1')))
    host.daemon.virsh('define', host.daemon.file('off.xml', tinyDomain('off')))
  })
  afterAll(async () => {
    await host?.stop()
  })
  afterEach(() => host.sshd.trust('host-key'))

  it.each(WAYS)('over %s', async (way) => {
    const report = await check(host.info(way))
    expect(report).toMatchObject({
      id: `lab-${way}`,
      state: 'warn',
      hostname: host.daemon.virsh('hostname').trim(),
      libvirt: /libvirt (\S+)/.exec(host.daemon.virsh('version'))?.[1],
      qemu: /Running hypervisor: QEMU (\S+)/.exec(host.daemon.virsh('version'))?.[1],
      kvm: host.daemon.virsh('capabilities').includes("<domain type='kvm'/>"),
      vms: { total: 2, running: 1, agents: 0 },
      connectMs: expect.any(Number),
      callMs: expect.any(Number),
    })
    expect(report.findings.filter(({ state }) => state === 'bad')).toEqual([])
    const found = new Map(report.findings.map((finding) => [finding.what, finding]))
    expect(found.get('permissions')).toMatchObject({ state: 'ok', detail: expect.stringContaining('桌面-1') })
    expect(found.get('guest agents')).toMatchObject({ state: 'warn', detail: 'no answer from 桌面-1' })
    expect(found.get('SPICE')?.state).toBe('ok')
    if (way === 'tls')
      expect(found.get('certificate')).toMatchObject({ state: 'warn', detail: expect.stringMatching(/days left/) })
    if (way.startsWith('ssh'))
      expect(found.get('connection')?.detail).toMatch(way === 'ssh' ? /through virt-ssh-helper$/ : /through nc$/)
  })

  it('on the command line: several at once, in order; as JSON; stored with --check', { timeout: 60_000 }, async () => {
    const hosts = WAYS.map((way) => {
      const { id, uri, access } = host.info(way)
      return { id, uri, allow: access?.allow }
    })
    const home = project({}, { lab: false, hosts })
    const { code, stdout, stderr } = await home.run(['host', 'check'])
    expect(code, stderr).toBe(0)
    expect([...stdout.matchAll(/^(lab-\S+) {2}qemu/gm)].map(([, id]) => id)).toEqual(WAYS.map((way) => `lab-${way}`))
    expect(stderr).toMatch(/\(5 of 5\)/)
    const json = await home.run(['host', 'check', 'lab-tcp', '--json'])
    expect(JSON.parse(json.stdout)).toMatchObject([{ id: 'lab-tcp', vms: { running: 1 } }])
    const doctor = await home.run(['doctor'])
    expect(doctor.code, doctor.stdout).toBe(0)
    expect(doctor.stdout).toMatch(/ok {4}host lab-tls: .*libvirt .*1 of 2 VMs run.*\nwarn {2}host lab-tls: certificate/)
    const { uri } = host.info('unix')
    const added = await home.run(['host', 'add', 'stored', '--uri', uri, '--check'])
    expect(added.code, added.stderr).toBe(0)
    expect(added.stdout).toContain('stored stored')
  })

  it('is used by specs when it is in hosts.yaml', { timeout: 60_000 }, async () => {
    const { uri, access } = host.info('ssh')
    const tls = host.info('tls')
    const home = project(
      {
        'hosts.yaml': `hosts:
  - { id: by-ssh, uri: "${uri}", allow: [${access?.allow?.join()}] }
  - { id: by-tls, uri: "${tls.uri}", connection: { connections: shared, heartbeat: 5s } }
`,
        'specs/a.spec.ts': spec(
          ['by-ssh', 'by-tls']
            .map(
              (id) => `describe('${id}', () => {
  test.override('vmOptions', { domain: '桌面-1', host: '${id}' })
  test('runs', async ({ vm }) => { await expect(vm).toBeRunning() })
})`,
            )
            .join('\n'),
        ),
      },
      { lab: false },
    )
    // A broker of its own, which ends with the run.
    const state = mkdtempSync('/tmp/atp-h-')
    onTestFinished(() => rmSync(state, { recursive: true, force: true }))
    const { code, stdout, stderr } = await home.run(['test', '--reporter', 'plain'], { ATP_HOME: state })
    expect(code, stdout + stderr).toBe(0)
    expect(home.report().reports.map(({ status }) => status)).toEqual(['passed', 'passed'])
  })

  it('through the program that the host has', async () => {
    const ask = (parameters: string) =>
      sshHelper(
        parseLibvirtUri(host.info('ssh').uri.replace('/session', '/system') + parameters, { allow: ['command'] }),
        { timeoutMs: 10_000 },
      )
    expect(await ask('')).toBe('virt-ssh-helper')
    expect(await ask('&proxy=netcat')).toBe('nc')
  })

  it.each([
    ['unknown', undefined, /ssh -p \d+ nobody@127\.0\.0\.1$|compare the fingerprint/],
    ['changed', 'other-host-key', /ssh-keygen -R '\[127\.0\.0\.1\]:\d+'/],
  ] as const)('ssh: host key %s', async (_, key, remedy) => {
    host.sshd.trust(key)
    expect(end(await check(host.info('ssh')))).toMatchObject({
      state: 'bad',
      what: 'connection',
      code: 'ATP_SSH_HOST_KEY',
      remedy: expect.stringMatching(remedy),
    })
  })

  it('ssh: a key that is not let in', async () => {
    const { id, uri, access } = host.info('ssh')
    const info = { id, uri: uri.replace(host.sshd.userKey, host.sshd.foreignKey), access }
    expect(end(await check(info))).toMatchObject({
      code: 'ATP_SSH_AUTH',
      detail: expect.stringContaining('Permission denied'),
      remedy: expect.stringContaining('ssh-copy-id'),
    })
  })

  it('ssh: a port where nobody listens, a name nobody knows', async () => {
    const { id, uri, access } = host.info('ssh')
    const refused = { id, uri: uri.replace(/:\d+\//, ':1/'), access }
    expect(end(await check(refused))).toMatchObject({
      code: 'ATP_SSH_CONNECT',
      remedy: expect.stringMatching(/no sshd/),
    })
    const unknown = { id, uri: uri.replace('127.0.0.1', 'nobody.invalid'), access }
    expect(end(await check(unknown))).toMatchObject({
      code: 'ATP_SSH_CONNECT',
      remedy: expect.stringContaining('nobody.invalid'),
    })
  })

  it('TLS: an unknown CA, another name, no certificate, a foreign one, a missing file', async () => {
    const { ca, foreignCa, client, foreignClient } = host.tls
    const at = (tls: { ca: string; cert?: string; key?: string }, name = '127.0.0.1') =>
      check({ id: 'lab', uri: `qemu+tls://${name}:${host.port('tls')}/session`, access: { tls } })
    const codes = [
      await at({ ...client, ca: foreignCa.cert }),
      await at({ ca: ca.cert }),
      await at({ ...foreignClient, ca: ca.cert }),
      await at({ ...client, ca: `${host.daemon.root}/none.pem` }),
    ].map((report) => [end(report)?.code, end(report)?.remedy !== undefined, report.state])
    expect(codes).toEqual([
      ['ATP_TLS_UNKNOWN_CA', true, 'bad'],
      ['ATP_TLS_CLIENT_CERTIFICATE', true, 'bad'],
      ['ATP_TLS_CLIENT_CERTIFICATE', true, 'bad'],
      ['ATP_TLS_FILE', true, 'bad'],
    ])
  })
})

describe.skipIf(missing)('a host on which something is wrong', () => {
  async function withHost(options: RemoteHostOptions, work: (host: RemoteHost) => Promise<void>): Promise<void> {
    const host = await RemoteHost.start(options)
    try {
      await work(host)
    } finally {
      await host.stop()
    }
  }

  it('TLS: expired, and made for another name', async () => {
    await withHost({ listen: ['tls'], certificate: 'expired' }, async (host) => {
      const { findings } = await check(host.info('tls'))
      expect(findings).toMatchObject([
        { what: 'address', state: 'ok' },
        { what: 'certificate', state: 'bad', detail: expect.stringContaining('expired on') },
        { what: 'connection', code: 'ATP_TLS_EXPIRED' },
      ])
    })
    await withHost({ listen: ['tls'], certificate: 'wrong-name' }, async (host) => {
      expect((await check(host.info('tls'))).findings.slice(1)).toMatchObject([
        { what: 'certificate', detail: expect.stringContaining('for DNS:elsewhere.example') },
        { what: 'connection', code: 'ATP_TLS_NAME' },
      ])
    })
  })

  it.skipIf(missingSasl)('SASL: needed, wrong, right, and not to be had over plain TCP', async () => {
    await withHost({ listen: ['sasl-unix', 'sasl-tcp'] }, async (host) => {
      const { id, uri, access } = host.info('unix')
      expect(end(await check({ id, uri }))).toMatchObject({ what: 'session', code: 'ATP_LIBVIRT_AUTH_NEEDED' })
      const wrong = { user: SASL_USER, password: new Secret('wrong', 'not-the-password') }
      const refused = await check({ id, uri, access: { sasl: wrong } })
      expect(end(refused)).toMatchObject({ what: 'session', code: 'ATP_LIBVIRT_AUTH' })
      expect(JSON.stringify(refused)).not.toContain('not-the-password')
      expect((await check({ id, uri, access })).findings).toContainEqual({
        state: 'ok',
        what: 'session',
        detail: `opened by SASL as ${SASL_USER}`,
      })
      expect(end(await check(host.info('tcp')))).toMatchObject({ code: 'ATP_LIBVIRT_AUTH_UNSUPPORTED' })
    })
  })

  it('TCP: a port at which nobody answers, and one that belongs to somebody else', async () => {
    const silent = createServer((socket) => socket.resume()).listen(0, '127.0.0.1')
    await once(silent, 'listening')
    const { port } = silent.address() as AddressInfo
    const uri = `qemu+tcp://127.0.0.1:${port}/system`
    const report = await checkHost({ id: 'a', uri, origin: '', info: () => ({ id: 'a', uri }), connectTimeoutMs: 300 })
    expect(end(report)).toMatchObject({ state: 'bad', what: 'session', code: 'ATP_LIBVIRT_TIMEOUT' })
    silent.close()
    await once(silent, 'close')
    expect(end(await check({ id: 'a', uri }))).toMatchObject({
      code: 'ATP_TRANSPORT_CONNECT',
      remedy: expect.stringContaining('libvirtd-tcp.socket'),
    })
  })

  it('a host that takes longer than it may, with what was found until then', async () => {
    const silent = createServer((socket) => socket.resume()).listen(0, '127.0.0.1')
    await once(silent, 'listening')
    const { port } = silent.address() as AddressInfo
    const uri = `qemu+tcp://127.0.0.1:${port}/system`
    const startedMs = performance.now()
    const host = { id: 'a', uri, origin: '', info: () => ({ id: 'a', uri }), connectTimeoutMs: 60_000 }
    const report = await checkHost(host, { timeoutMs: 500 })
    silent.close()
    expect(performance.now() - startedMs).toBeLessThan(5000)
    expect(report).toMatchObject({
      state: 'bad',
      findings: [
        { state: 'ok', what: 'address' },
        { state: 'ok', what: 'connection' },
        { state: 'bad', what: 'host', code: 'ATP_TIMEOUT', remedy: expect.stringContaining('more time') },
      ],
    })
    const found = report.findings.length
    await once(silent, 'close')
    expect(report.findings).toHaveLength(found)
  })

  it('a daemon without its QEMU driver', async () => {
    const daemon = PrivateDaemon.prepare()
    const drivers = { LIBVIRT_DRIVER_DIR: daemon.folder('no-drivers') }
    const child = daemon.spawn(['/usr/sbin/libvirtd', '-p', `${daemon.root}/libvirtd.pid`, '--timeout', '30'], {
      ...daemon.env,
      ...drivers,
    })
    try {
      const uri = `qemu+unix:///session?socket=${daemon.socketPath}`
      await expect.poll(() => existsSync(daemon.socketPath), { timeout: 20_000 }).toBe(true)
      // The socket is there a moment before somebody serves it.
      await expect
        .poll(async () => end(await check({ id: 'a', uri })), { timeout: 20_000 })
        .toMatchObject({ what: 'session', remedy: expect.stringContaining('libvirt-daemon-driver-qemu') })
    } finally {
      const ended = once(child, 'exit')
      child.kill('SIGTERM')
      await ended
      await daemon.stop()
    }
  })

  it('a daemon that takes no more clients', async () => {
    await withHost({ listen: ['tcp'], config: ['max_anonymous_clients = 1', 'max_clients = 1'] }, async (host) => {
      const other = await import('../../../framework/transport/index.ts').then(({ connectUnix }) =>
        connectUnix(host.daemon.socketPath),
      )
      try {
        const { id, uri } = host.info('unix')
        const report = await checkHost({ id, uri, origin: '', info: () => ({ id, uri }), connectTimeoutMs: 1000 })
        expect(end(report)).toMatchObject({
          state: 'bad',
          what: 'session',
          remedy: expect.stringContaining('max_clients'),
        })
      } finally {
        other.destroy()
      }
    })
  })
})
