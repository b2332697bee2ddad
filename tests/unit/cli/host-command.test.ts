import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { project } from '../../lab/project.ts'

/** A project without the lab; `hosts.yaml` is what the commands make. */
const home = (files: Record<string, string> = {}, config: Record<string, unknown> = {}) =>
  project(files, { lab: false, ...config })
const NOWHERE = 'qemu+unix:///session?socket=/nonexistent/libvirt-sock'

describe('atp host', () => {
  it('stores, lists and removes', { timeout: 60_000 }, async () => {
    const { run, dir } = home(
      { 'hosts.yaml': '# 我们的主机\nhosts: []\n' },
      { hosts: [{ id: 'own', uri: 'qemu:///system' }] },
    )
    const added = await run([
      'host',
      'add',
      'kvm-1',
      '--host',
      '192.168.1.10',
      '--capacity',
      '8',
      '--label',
      '快',
      'gpu',
    ])
    expect(added, added.stderr).toMatchObject({
      code: 0,
      stdout: 'stored kvm-1 (qemu+ssh://192.168.1.10/system) in hosts.yaml\n',
    })
    const tls = ['--uri', 'qemu+tls://kvm-2.example/system', '--tls-ca', 'pki/ca.pem']
    expect(await run(['host', 'add', 'kvm-2', ...tls])).toMatchObject({ code: 0 })
    expect(readFileSync(join(dir, 'hosts.yaml'), 'utf8')).toMatch(/^# 我们的主机\n[^]*ca: pki\/ca\.pem\n/)

    const listed = JSON.parse((await run(['host', 'list', '--json'])).stdout)
    expect(listed).toEqual([
      { id: 'own', uri: 'qemu:///system', capacity: 4, labels: [], origin: join(dir, 'atp.config.mjs: hosts[0]') },
      {
        id: 'kvm-1',
        uri: 'qemu+ssh://192.168.1.10/system',
        capacity: 8,
        labels: ['快', 'gpu'],
        origin: expect.stringMatching(/hosts\.yaml:3:5$/),
      },
      { id: 'kvm-2', uri: 'qemu+tls://kvm-2.example/system', capacity: 4, labels: [], origin: expect.any(String) },
    ])
    expect((await run(['host', 'list'])).stdout).toMatch(/^ID +URI.*\nown +qemu:.*\nkvm-1 .* 快,gpu +hosts\.yaml:3:5\n/)

    expect(await run(['host', 'remove', 'kvm-1'])).toMatchObject({ code: 0, stdout: 'removed kvm-1 from hosts.yaml\n' })
    const left = JSON.parse((await run(['host', 'list', '--json'])).stdout) as { id: string }[]
    expect(left.map(({ id }) => id)).toEqual(['own', 'kvm-2'])
  })

  it.each([
    [['host', 'add', 'x'], /names no address[\s\S]*--host/],
    [['host', 'add', 'x', '--host', 'a', '--uri', 'qemu:///system'], /cannot be used with/],
    [['host', 'add', 'own', '--host', 'a'], /"own" is taken by .*atp\.config\.mjs/],
    [['host', 'add', 'x', '--uri', 'qemu+ssh://-oProxyCommand=touch%20x/system'], /no usable libvirt URI/],
    [['host', 'add', 'x', '--uri', 'qemu+tls://a/system?no_verify=1'], /no_verify[\s\S]*allow: \['no_verify'\]/],
    [['host', 'add', '..', '--host', 'a'], /hosts\[0\]\.id: must match pattern/],
    [['host', 'remove', 'own'], /not in the hosts file but in .*atp\.config\.mjs/],
    [['host', 'remove', 'nobody'], /no host "nobody"[\s\S]*ATP_HOST_UNKNOWN/],
    [['host', 'check', '--timeout', 'soon'], /give a time such as 5s/],
    [['host', 'check', '--timeout', '0'], /give a time such as 5s/],
    [['host', 'check', 'onw'], /no host "onw"[\s\S]*did you mean "own"/],
    [['host', 'chekc'], /unknown command 'chekc'[\s\S]*check/],
  ])('2: %j', { timeout: 30_000 }, async (args, message) => {
    const { run, dir } = home({}, { hosts: [{ id: 'own', uri: 'qemu:///system' }] })
    const outcome = await run(args)
    expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 2 })
    expect(outcome.stderr).toMatch(message)
    expect(() => readFileSync(join(dir, 'hosts.yaml'))).toThrow('ENOENT')
  })

  it('2: no host to examine', { timeout: 30_000 }, async () => {
    const outcome = await home().run(['host', 'check'])
    expect(outcome).toMatchObject({ code: 2 })
    expect(outcome.stderr).toMatch(/no host to examine[\s\S]*atp host add/)
  })

  it(
    '3: what is bad is told with place, cause and remedy, and the others are examined all the same',
    { timeout: 30_000 },
    async () => {
      const { run } = home({
        'hosts.yaml': `hosts:
  - { id: gone, uri: "${NOWHERE}" }
  - { id: risky, uri: "qemu+tls://a/system?no_verify=1" }
`,
      })
      const text = await run(['host', 'check'])
      expect(text.code).toBe(3)
      expect(text.stdout).toMatch(
        /^gone {2}qemu[^]*bad {3}connection: .*\/nonexistent\/libvirt-sock: ENOENT \[ATP_TRANSPORT_CONNECT\]\n +→ start the daemon/,
      )
      expect(text.stdout).toMatch(
        /\nrisky {2}qemu[^]*bad {3}configuration: .*no_verify.*\[ATP_LIBVIRT_URI\]\n +→ .*allow/,
      )
      const json = await run(['host', 'check', '--json', 'gone'])
      expect(json.code).toBe(3)
      expect(JSON.parse(json.stdout)).toMatchObject([
        {
          id: 'gone',
          uri: NOWHERE,
          origin: expect.stringMatching(/hosts\.yaml:2:5$/),
          state: 'bad',
          findings: [{ state: 'bad', what: 'connection', code: 'ATP_TRANSPORT_CONNECT' }],
        },
      ])
      const doctor = await run(['doctor'])
      expect(doctor.code).toBe(3)
      expect(doctor.stdout).toMatch(/bad {3}host gone: connection: .*\/nonexistent\/libvirt-sock: ENOENT/)
    },
  )

  it('shows no password of a URI, and what cannot be used among the others', { timeout: 60_000 }, async () => {
    const { run } = home({
      'hosts.yaml': `hosts:
  - { id: talkative, uri: "qemu+ssh://root:geheim99@kvm/system" }
  - { id: crooked, host: "root:geheim99@a b" }
`,
    })
    for (const args of [['list'], ['list', '--json'], ['check'], ['check', '--json']]) {
      const { stdout, stderr } = await run(['host', ...args])
      expect(stdout).toMatch(/talkative[^]*crooked/)
      expect(stdout + stderr).not.toContain('geheim99')
    }
    const doctor = await run(['doctor'])
    expect(doctor, doctor.stderr).toMatchObject({ code: 3 })
    expect(doctor.stdout).toMatch(/talkative: configuration[^]*crooked: configuration/)
    expect(doctor.stdout + doctor.stderr).not.toContain('geheim99')
  })

  it('3: "add --check" does not store a host that cannot be reached', { timeout: 30_000 }, async () => {
    const { run, dir } = home()
    const outcome = await run(['host', 'add', 'gone', '--uri', NOWHERE, '--check'])
    expect(outcome).toMatchObject({ code: 3 })
    expect(outcome.stdout).toContain('ENOENT')
    expect(outcome.stderr).toContain('"gone" was not stored')
    expect(() => readFileSync(join(dir, 'hosts.yaml'))).toThrow('ENOENT')
  })

  it(
    'a URI that cannot be used keeps specs from being run, with file, line and column',
    { timeout: 30_000 },
    async () => {
      const { run } = home({ 'hosts.yaml': 'hosts:\n  - id: a\n    uri: qemu+tcp:///system\n' })
      const outcome = await run(['test'])
      expect(outcome).toMatchObject({ code: 2 })
      expect(outcome.stdout + outcome.stderr).toMatch(/hosts\.yaml:2:5: host "a": .*tcp needs a host/)
      expect(await run(['config', 'show'])).toMatchObject({ code: 2 })
    },
  )
})
