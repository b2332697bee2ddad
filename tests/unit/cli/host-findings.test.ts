import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer, type AddressInfo, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { examineAddress } from '../../../framework/cli/host-check/address.ts'
import { judgeCertificate } from '../../../framework/cli/host-check/certificate.ts'
import { examineSpice, type Machine } from '../../../framework/cli/host-check/machines.ts'
import { printFinding, worst } from '../../../framework/cli/finding.ts'
import { parseDomainXml, parseLibvirtUri } from '../../../framework/protocols/libvirt/index.ts'
import { parseCapabilities } from '../../../framework/protocols/libvirt/capabilities.ts'

const address = (uri: string) => examineAddress(parseLibvirtUri(uri, { allow: ['command'] }), {})

describe('addresses', () => {
  let dir: string
  beforeEach(() => void (dir = mkdtempSync(join(tmpdir(), 'atp-address-'))))
  afterEach(() => rmSync(dir, { recursive: true }))

  it('of sockets are for the connection to judge', async () => {
    expect(await address('qemu+unix:///session?socket=/nonexistent')).toEqual({ finding: undefined, host: 'localhost' })
  })

  it('need no look-up', async () => {
    expect(await address('qemu+tls://[::1]/system')).toMatchObject({
      host: '::1',
      finding: { state: 'ok', detail: '::1 port 16514' },
    })
    expect((await address('qemu+tcp://localhost:7/system')).finding).toMatchObject({
      state: 'ok',
      detail: expect.stringMatching(/^localhost port 7 is .*(127\.0\.0\.1|::1)/),
    })
  })

  it('nobody knows', async () => {
    expect((await address('qemu+tcp://nobody.invalid/system')).finding).toMatchObject({
      state: 'bad',
      detail: expect.stringContaining('"nobody.invalid" cannot be looked up'),
      remedy: expect.stringMatching(/spelling|name server/),
    })
  })

  it('of ssh are what its configuration makes of them', async () => {
    const { finding } = await address('qemu+ssh://root@127.0.0.1:2222/system')
    expect(finding).toEqual({ state: 'ok', what: 'ssh', detail: 'root@127.0.0.1 port 2222' })
  })

  it('without an ssh program', async () => {
    const { finding } = await address(`qemu+ssh://kvm/system?command=${dir}/no-ssh`)
    expect(finding).toMatchObject({ state: 'bad', remedy: 'install openssh-client' })
    expect(finding?.detail).toContain(`${dir}/no-ssh" is not installed here`)
  })

  it('where an ssh refuses', async () => {
    const { finding } = await address('qemu+ssh://kvm/system?command=/bin/false')
    expect(finding).toMatchObject({ state: 'bad', detail: expect.stringContaining('ssh refuses its settings') })
  })

  it('of a socket that this user may not open name the group that may', async () => {
    // The tests' own folder lets nobody else in.
    const open = mkdtempSync('/tmp/atp-socket-')
    onTestFinished(() => rmSync(open, { recursive: true }))
    chmodSync(open, 0o755)
    const path = join(open, 'libvirt-sock')
    const server = createServer().listen(path)
    await once(server, 'listening')
    const root = process.getuid?.() === 0
    if (root) chownSync(path, 0, 1)
    chmodSync(path, root ? 0o660 : 0o060)
    const group = execFileSync('stat', ['-c', '%G', path], { encoding: 'utf8' }).trim()
    const program = `import { examineAddress } from '${import.meta.resolve('../../../framework/cli/host-check/address.ts')}'
      import { parseLibvirtUri } from '${import.meta.resolve('../../../framework/protocols/libvirt/index.ts')}'
      console.log(JSON.stringify(await examineAddress(parseLibvirtUri('qemu+unix:///system?socket=${path}'), {})))`
    // Root may open everything.
    const drop = ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups', '--']
    const argv = [...(root ? drop : []), process.execPath, '--input-type=module', '-e', program]
    const { finding } = JSON.parse(execFileSync(argv[0] as string, argv.slice(1), { encoding: 'utf8', cwd: '/' }))
    server.close()
    expect(finding).toMatchObject({
      state: 'bad',
      detail: expect.stringMatching(/libvirt-sock: the user ".+" may not open it$/),
      remedy: expect.stringContaining(`sudo usermod -aG ${group} `),
    })
  })
})

describe('certificates', () => {
  const certificate = (from: string, to: string) => ({
    subject: { CN: 'kvm-1' },
    issuer: { CN: 'Lab CA' },
    subjectaltname: 'DNS:kvm-1.example',
    valid_from: from,
    valid_to: to,
  })
  const now = Date.parse('2026-06-15T12:00:00Z')
  const judge = (from: string, to: string) => judgeCertificate(certificate(from, to) as never, now)

  it.each([
    [
      'Jan  1 00:00:00 2026 GMT',
      'Jan  1 00:00:00 2027 GMT',
      'ok',
      '"kvm-1" for DNS:kvm-1.example, by "Lab CA", valid until 2027-01-01',
    ],
    ['Jan  1 00:00:00 2026 GMT', 'Jul  1 00:00:00 2026 GMT', 'warn', /valid until 2026-07-01: 15 days left/],
    ['Jan  1 00:00:00 2026 GMT', 'Jun  1 00:00:00 2026 GMT', 'bad', /expired on 2026-06-01/],
    ['Jul  1 00:00:00 2026 GMT', 'Jan  1 00:00:00 2027 GMT', 'bad', /valid only from 2026-07-01/],
  ])('from %s to %s: %s', (from, to, state, detail) => {
    const finding = judge(from, to)
    expect(finding.state).toBe(state)
    expect(finding.detail).toMatch(detail)
    expect(finding.remedy === undefined).toBe(state === 'ok')
  })
})

describe('SPICE servers', () => {
  let server: Server
  let open: number
  beforeEach(async () => {
    server = createServer((socket) => socket.destroy())
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
    open = (server.address() as AddressInfo).port
  })
  afterEach(() => void server.close())

  const machine = (name: string, graphics: string): Machine => ({
    domain: { name, uuid: '', id: 1 },
    xml: parseDomainXml(`<domain type='kvm'><name>${name}</name><devices>${graphics}</devices></domain>`),
  })
  const local = { hostAddress: '127.0.0.1', local: true }
  const remote = { hostAddress: '127.0.0.1', local: false }

  it('are reached where they listen; everywhere means at the host', async () => {
    const machines = [
      machine('a', `<graphics type='spice' port='${open}' listen='127.0.0.1'/>`),
      machine('b', `<graphics type='spice' port='${open}' tlsPort='${open}' listen='0.0.0.0'/>`),
      machine('c', `<graphics type='vnc' port='${open}' listen='0.0.0.0'/>`),
    ]
    expect(await examineSpice(machines, local, {})).toEqual([
      {
        state: 'ok',
        what: 'SPICE',
        detail: `reachable: a 127.0.0.1:${open} (port), b 127.0.0.1:${open} (port), b 127.0.0.1:${open} (tls-port)`,
      },
    ])
    expect(await examineSpice(machines, remote, {})).toMatchObject([
      { state: 'ok', detail: expect.stringContaining('reachable: b') },
      { state: 'warn', detail: expect.stringMatching(/only on the host itself.*: a$/) },
    ])
  })

  it('that refuse, or have no port', async () => {
    const machines = [
      machine('a', `<graphics type='spice' port='1' listen='127.0.0.1'/>`),
      machine('b', `<graphics type='spice' autoport='yes' port='-1' listen='127.0.0.1'/>`),
      machine('c', `<graphics type='spice'><listen type='none'/></graphics>`),
    ]
    expect(await examineSpice(machines, local, {})).toMatchObject([
      { state: 'warn', detail: expect.stringMatching(/not reachable: a 127\.0\.0\.1:1: .*ECONNREFUSED/) },
      { state: 'warn', detail: expect.stringMatching(/on no port: b, c$/) },
    ])
  })

  it('are not missed where no VM has one', async () => {
    expect(await examineSpice([], remote, {})).toMatchObject([{ state: 'ok' }])
  })
})

describe('capabilities', () => {
  const guest = (arch: string, ...types: string[]) =>
    `<guest><os_type>hvm</os_type><arch name='${arch}'><emulator>/usr/bin/qemu</emulator>${types.map((type) => `<domain type='${type}'/>`).join('')}</arch></guest>`

  it('tell architectures and hardware virtualisation', () => {
    const xml = `<capabilities><host><cpu><arch>x86_64</arch></cpu></host>${guest('x86_64', 'qemu', 'kvm')}${guest('aarch64', 'qemu')}</capabilities>`
    expect(parseCapabilities(xml)).toEqual({
      arch: 'x86_64',
      guests: [
        { arch: 'x86_64', emulator: '/usr/bin/qemu', kvm: true },
        { arch: 'aarch64', emulator: '/usr/bin/qemu', kvm: false },
      ],
    })
    expect(parseCapabilities('<capabilities/>')).toEqual({ arch: undefined, guests: [] })
  })
})

it('findings are a line, and one for what to do', () => {
  const hostile = { state: 'ok', what: 'certificate', detail: '"\u001b[31m名\u0007\u009b2J\r"\nb' } as const
  expect(printFinding(hostile)).toBe('ok    certificate: "[31m名2J"\n      b\n')
  expect(printFinding({ state: 'bad', what: 'x', detail: 'a\nb', code: 'ATP_X', remedy: 'mend it' }, '  ')).toBe(
    '  bad   x: a\n        b [ATP_X]\n        → mend it\n',
  )
  expect(worst([])).toBe('ok')
})
