import {
  chmodSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
  lstatSync,
  readdirSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { addHost, removeHost } from '../../../framework/config/edit-hosts-file.ts'
import { hostsSchema, readHostsFile } from '../../../framework/config/hosts-file.ts'
import { configSchema, loadConfig } from '../../../framework/config/index.ts'
import { redact } from '../../../framework/core/index.ts'
import { POOL_STRATEGIES, RISKS } from '../../../framework/hosts/index.ts'

/** The project's first description of this file, word by word. */
const SEED = `# 主机配置
hosts:
  - id: host1
    host: 192.168.1.10
    # TCP 连接 (无加密)
    uri: qemu+tcp://192.168.1.10/system

  - id: host2
    host: 192.168.1.20
    # TLS 连接 (加密)
    uri: qemu+tls://192.168.1.20/system

  - id: host3
    host: 192.168.1.30
    # SSH 连接 (默认)
    uri: qemu+ssh://root@192.168.1.30:22/system

# Spice 配置
spice:
  vms:
    - vm_id: vm1
      server_addr: 192.168.1.10
      port: 5900
      password: optional_password
      tls: false

    - vm_id: vm2
      server_addr: 192.168.1.20
      port: 5901
      tls: true
      tls_verify: true
`

let dir: string
let file: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'atp-hosts-'))
  file = join(dir, 'hosts.yaml')
})
afterEach(() => rmSync(dir, { recursive: true }))

const write = (text: string) => writeFileSync(file, text)
const problem = (text: string): string => {
  write(text)
  try {
    readHostsFile(file)
  } catch (error) {
    expect(error).toMatchObject({ code: 'ATP_HOSTS_INVALID' })
    return (error as Error).message
  }
  throw new Error('the file was accepted')
}

describe('hosts.yaml', () => {
  it('of the first description loads as it is', () => {
    write(SEED)
    const { hosts, spiceVms } = readHostsFile(file)
    expect(hosts).toEqual([
      { config: { id: 'host1', host: '192.168.1.10', uri: 'qemu+tcp://192.168.1.10/system' }, place: `${file}:3:5` },
      { config: { id: 'host2', host: '192.168.1.20', uri: 'qemu+tls://192.168.1.20/system' }, place: `${file}:8:5` },
      {
        config: { id: 'host3', host: '192.168.1.30', uri: 'qemu+ssh://root@192.168.1.30:22/system' },
        place: `${file}:13:5`,
      },
    ])
    expect(spiceVms).toMatchObject([
      { vmId: 'vm1', serverAddr: '192.168.1.10', port: 5900, tls: false, tlsVerify: true },
      { vmId: 'vm2', serverAddr: '192.168.1.20', port: 5901, tls: true, tlsVerify: true, password: undefined },
    ])
    expect(spiceVms[0]?.password?.reveal()).toBe('optional_password')
  })

  it('keeps passwords out of everything that is printed', async () => {
    write(SEED)
    expect(JSON.stringify(await loadConfig(dir))).not.toContain('optional_password')
    expect(redact('it said optional_password')).toBe('it said •••')
    // Also where the file is refused and its words end up in a message.
    const text = problem('spice:\n  vms:\n    - { vm_id: a, server_addr: b, port: 1, password: [geheim-im-feld] }\n')
    expect(text).toMatch(/password: must be string/)
    problem('spice:\n  vms:\n    - { vm_id: a, server_addr: b, prt: 1, password: noch-ein-geheimnis }\n')
    expect(redact('noch-ein-geheimnis')).toBe('•••')
  })

  it.each([
    [
      'hosts:\n  - id: a\n    uir: qemu:///system\n',
      [':3:5: hosts[0]: unknown setting "uir"; did you mean "uri"?', ':2:5: hosts[0]: must have "host" or "uri"'],
    ],
    ['hostz: []\n', [':1:1: top level: unknown setting "hostz"; did you mean "hosts"?']],
    ['hosts:\n  - { id: a, host: x }\n  - { id: a, host: y }\n', [':3:5: the id "a" is used twice, first at', ':2:5']],
    ['hosts:\n  - id: "-x y"\n    host: b\n', [':2:9: hosts[0].id: must match pattern']],
    [
      'spice:\n  vms:\n    - { vm_id: v, server_addr: a, port: 1 }\n    - { vm_id: v, server_addr: a, port: 2 }\n',
      [':4:7: the vm_id "v" is used twice'],
    ],
    [
      'spice:\n  vms:\n    - { vm_id: v, server_addr: a, port: 70000 }\n',
      [':3:41: spice.vms[0].port: must be <= 65535'],
    ],
    ['hosts: [\n', [':2:1:']],
    ['hosts: []\nhosts: []\n', [':2:1: Map keys must be unique']],
    ['hosts: []\n---\nhosts: []\n', [':2:1:']],
    ['hosts:\n  - !host { id: a, host: b }\n', [':2:5: Unresolved tag: !host']],
    ['- id: a\n', [':1:1: top level: must be object']],
    [
      'hosts:\n  - { id: a, host: b, allow: [everything] }\n',
      ['hosts[0].allow[0]: must be one of no_verify, netcat, command'],
    ],
    ['hosts:\n  - { id: a, host: b, sasl: { user: u } }\n', ["hosts[0].sasl: must have required property 'password'"]],
    [
      'hosts:\n  - { id: a, host: b, sasl: { user: u, password: { env: A, file: b } } }\n',
      ['hosts[0].sasl.password: must NOT have more than 1 properties'],
    ],
    [`hosts: &a\n  - { id: a, host: b }\nspice: { vms: [${'*a, '.repeat(200)}] }\n`, [':1:1: Excessive alias count']],
    [`# ${'x'.repeat(1_100_000)}\n`, [':1:1: the file is longer than']],
  ])('refuses %j with line and column', (text, wanted) => {
    const message = problem(text)
    for (const part of wanted) expect(message).toContain(part)
  })

  it('tells a file that cannot be read', () => {
    expect(() => readHostsFile(join(dir, 'none.yaml'))).toThrow(expect.objectContaining({ code: 'ATP_HOSTS_FILE' }))
    writeFileSync(file, Buffer.from([0x68, 0xff, 0xfe]))
    expect(() => readHostsFile(file)).toThrow(expect.objectContaining({ code: 'ATP_HOSTS_FILE' }))
  })

  it('may be empty', () => {
    write('# nothing yet\n')
    expect(readHostsFile(file)).toMatchObject({ hosts: [], spiceVms: [] })
  })

  it('describes a host as the configuration does', () => {
    expect(hostsSchema.properties.hosts).toEqual(configSchema.properties.hosts)
    const { allow, connection } = hostsSchema.properties.hosts.items.properties
    expect(allow.items.enum).toEqual([...RISKS])
    expect(connection.properties.pool.properties.strategy.enum.toSorted()).toEqual(POOL_STRATEGIES.toSorted())
  })
})

describe('hosts of configuration and file', () => {
  const config = (settings: object) =>
    writeFileSync(join(dir, 'atp.config.mjs'), `export default ${JSON.stringify(settings)}`)

  it('are merged, with defaults, durations in milliseconds and paths from the file that names them', async () => {
    config({ secrets: { pw: { env: 'PW' } }, hosts: [{ id: 'first', uri: 'qemu:///system' }] })
    write(`hosts:
  - id: second
    host: kvm-2
    labels: [fast]
    tls: { ca: pki/ca.pem }
    sasl: { user: atp, password: { secret: pw } }
    allow: [no_verify]
    connection: { connectTimeout: 5s, heartbeat: 0, keepalive: 2s, autoReconnect: false, maxAttempts: 3, pool: { min: 2, idleTimeout: 1m } }
`)
    const { hosts, lab } = await loadConfig(dir)
    expect(lab).toBeUndefined()
    expect(hosts).toMatchObject([
      {
        id: 'first',
        capacity: 4,
        labels: [],
        allow: [],
        place: `${join(dir, 'atp.config.mjs')}: hosts[0]`,
        connection: {
          connections: 'separate',
          connectTimeoutMs: 30_000,
          heartbeatIntervalMs: 30_000,
          keepaliveIntervalMs: 5_000,
          autoReconnect: true,
          maxAttempts: undefined,
          pool: { min: 1, max: 10, strategy: 'least-connections', idleTimeoutMs: 300_000 },
        },
      },
      {
        id: 'second',
        host: 'kvm-2',
        uri: undefined,
        tls: { ca: join(dir, 'pki/ca.pem') },
        sasl: { user: 'atp', password: { env: 'PW' } },
        allow: ['no_verify'],
        place: `${file}:2:5`,
        connection: {
          connectTimeoutMs: 5_000,
          heartbeatIntervalMs: 0,
          keepaliveIntervalMs: 2_000,
          autoReconnect: false,
          maxAttempts: 3,
          pool: { min: 2, max: 10, idleTimeoutMs: 60_000 },
        },
      },
    ])
  })

  it('alone make a project without the lab; without any the lab is on', async () => {
    write('hosts:\n  - { id: a, host: b }\n')
    expect(await loadConfig(dir)).toMatchObject({ file: undefined, lab: undefined, hosts: [{ id: 'a' }] })
    write('hosts: []\n')
    expect(await loadConfig(dir)).toMatchObject({ lab: {} })
  })

  it('come from the file of the setting, which must then exist', async () => {
    config({ hostsFile: 'others.yaml' })
    await expect(loadConfig(dir)).rejects.toMatchObject({ code: 'ATP_HOSTS_FILE' })
    write('hosts:\n  - { id: a, host: b }\n')
    writeFileSync(join(dir, 'others.yaml'), 'hosts:\n  - { id: c, host: d }\n')
    expect((await loadConfig(dir)).hosts.map(({ id }) => id)).toEqual(['c'])
  })

  it('must not share an id', async () => {
    config({ hosts: [{ id: 'a', uri: 'qemu:///system' }] })
    write('hosts:\n  - { id: a, host: b }\n')
    await expect(loadConfig(dir)).rejects.toThrow(/hosts\.yaml:2:5: the id "a" is used twice, first at .*hosts\[0\]/)
  })

  it.each([
    [{ connection: { heartbeat: 'soon' } }, /host "a": connection\.heartbeat: "soon" is not a duration/],
    [{ connection: { connectTimeout: '1000h' } }, /connection\.connectTimeout: "1000h" is too long/],
    [{ connection: { connectTimeout: 0 } }, /connection\.connectTimeout: within no time nothing connects/],
    [{ connection: { pool: { min: 5, max: 2 } } }, /connection\.pool: min 5 is more than max 2/],
    [{ sasl: { user: 'u', password: { secret: 'passwrd' } } }, /no secret "passwrd"[\s\S]*did you mean "password"/],
  ])('%j is refused with its place', async (settings, message) => {
    config({ secrets: { password: { env: 'X' } }, hosts: [{ id: 'a', host: 'b', ...settings }] })
    await expect(loadConfig(dir)).rejects.toThrow(message)
    await expect(loadConfig(dir)).rejects.toThrow(/atp\.config\.mjs: hosts\[0\]/)
  })
})

describe('editing hosts.yaml', () => {
  it('adds and removes hosts; comments and order stay', () => {
    write(SEED)
    addHost(file, { id: 'host4', uri: 'qemu:///system', labels: ['新'] })
    const added = readFileSync(file, 'utf8')
    expect(added).toBe(
      SEED.replace(':22/system\n', ':22/system\n  - id: host4\n    uri: qemu:///system\n    labels:\n      - 新\n'),
    )
    removeHost(file, 'host4')
    expect(readFileSync(file, 'utf8')).toBe(SEED)
    removeHost(file, 'host2')
    expect(readFileSync(file, 'utf8')).toBe(SEED.replace(/  - id: host2[^]*?\n\n/, ''))
  })

  it('makes the file, and one without hosts', () => {
    addHost(file, { id: 'a', host: 'kvm' })
    expect(readFileSync(file, 'utf8')).toBe('hosts:\n  - id: a\n    host: kvm\n')
    write('# only a comment\n')
    addHost(file, { id: 'a', host: 'kvm' })
    expect(readFileSync(file, 'utf8')).toContain('# only a comment')
    removeHost(file, 'a')
    addHost(file, { id: 'b', host: 'kvm' })
    expect(readFileSync(file, 'utf8')).toBe('# only a comment\n\nhosts:\n  - id: b\n    host: kvm\n')
  })

  it('keeps the line ends of the file', () => {
    const windows = SEED.replaceAll('\n', '\r\n')
    write(windows)
    addHost(file, { id: 'host4', uri: 'qemu:///system' })
    const added = readFileSync(file, 'utf8')
    expect(added.match(/(?<!\r)\n/)).toBeNull()
    expect(added).toContain('\r\n  - id: host4\r\n    uri: qemu:///system\r\n')
    removeHost(file, 'host4')
    expect(readFileSync(file, 'utf8')).toBe(windows)
  })

  it('changes nothing where the result would be invalid', () => {
    write(SEED)
    expect(() => addHost(file, { id: 'host1', host: 'x' })).toThrow(/the id "host1" is used twice/)
    expect(() => addHost(file, { id: 'host4' })).toThrow(/must have "host" or "uri"/)
    expect(() => removeHost(file, 'hots1')).toThrow(
      expect.objectContaining({ code: 'ATP_HOST_UNKNOWN', remedy: 'did you mean "host1"?' }),
    )
    expect(readFileSync(file, 'utf8')).toBe(SEED)
    write('hosts: nonsense\n')
    expect(() => addHost(file, { id: 'a', host: 'x' })).toThrow(expect.objectContaining({ code: 'ATP_HOSTS_INVALID' }))
    expect(readdirSync(dir)).toEqual(['hosts.yaml'])
  })

  it('leaves alone what the rest of the file repeats', () => {
    const text = 'hosts:\n  - id: a\n    host: x\n    tls: &tls { ca: ca.pem }\n  - id: b\n    host: y\n    tls: *tls\n'
    write(text)
    expect(() => removeHost(file, 'a')).toThrow(
      expect.objectContaining({ code: 'ATP_HOSTS_INVALID', remedy: expect.stringContaining('*name') }),
    )
    expect(readFileSync(file, 'utf8')).toBe(text)
    removeHost(file, 'b')
    expect(readFileSync(file, 'utf8')).not.toContain('id: b')
  })

  it('keeps mode and symbolic links', () => {
    const real = join(dir, 'real.yaml')
    writeFileSync(real, SEED)
    chmodSync(real, 0o640)
    symlinkSync(real, file)
    addHost(file, { id: 'host4', host: 'x' })
    expect(lstatSync(file).isSymbolicLink()).toBe(true)
    expect(statSync(real).mode & 0o777).toBe(0o640)
    expect(readHostsFile(real).hosts).toHaveLength(4)
  })
})
