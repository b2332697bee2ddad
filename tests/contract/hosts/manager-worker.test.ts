/** Specs on configured hosts: what `atp test` hands to its workers reaches their connections. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { project, spec } from '../../lab/project.ts'
import {
  missingHostPart,
  PrivateDaemon,
  RemoteHost,
  SASL_PASSWORD,
  SASL_USER,
  tinyDomain,
} from '../../support/remote-host/index.ts'

const missing = missingHostPart(['sasl-tls'])
if (missing) console.warn(`tests of workers on configured hosts are skipped: ${missing}`)

describe.skipIf(missing)('specs on configured hosts', () => {
  let remote: RemoteHost
  let local: PrivateDaemon

  beforeAll(async () => {
    remote = await RemoteHost.start({ listen: ['sasl-tls'] })
    remote.virsh('tls', 'define', remote.daemon.file('vm.xml', tinyDomain('desk')))
    local = await PrivateDaemon.start()
    local.virsh('create', '--paused', local.file('vm.xml', tinyDomain('桌面')))
  })
  afterAll(async () => {
    await local?.stop()
    await remote?.stop()
  })

  /** A project with both hosts, run with a broker of its own. */
  function home(specs: string) {
    const state = mkdtempSync('/tmp/atp-mw-')
    const { ca, client } = remote.tls
    const hosts = [
      { id: 'local', uri: `qemu+unix:///session?socket=${local.socketPath}`, connection: { pool: { max: 2 } } },
      {
        id: 'remote',
        uri: `qemu+tls://127.0.0.1:${remote.port('tls')}/session`,
        tls: { ca: ca.cert, cert: client.cert, key: client.key },
        sasl: { user: SASL_USER, password: { secret: 'libvirt' } },
      },
    ]
    const config = { lab: false, hosts, secrets: { libvirt: { env: 'LIBVIRT_PASSWORD' } } }
    const made = project({ 'specs/a.spec.ts': spec(specs) }, config)
    const env = { ATP_HOME: state, LIBVIRT_PASSWORD: SASL_PASSWORD }
    onTestFinished(async () => {
      await made.run(['lab', 'down'], env)
      rmSync(state, { recursive: true, force: true })
    })
    return { made, env }
  }
  const attached = (name: string) => `test.override('vmOptions', { domain: '${name}' })\n`

  it('reach them with certificates and a password that is read in the worker and shown nowhere', async () => {
    const { made, env } = home(`${attached('desk')}
test('over TLS with SASL', async ({ vm }) => { expect([vm.host.id, await vm.state()]).toEqual(['remote', 'shutoff']) })
test('which VM was it', async ({ vm }) => { await vm.waitForState('running', { timeoutMs: 500 }) })`)
    const outcome = await made.run(['test'], env)
    expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 1 })
    expect(made.report().reports.map(({ status }) => status)).toEqual(['passed', 'failed'])
    expect(outcome.stdout).toContain('desk is shutoff, not running')
    const kept = readdirSync(made.dir, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'utf8'))
    for (const text of [outcome.stdout, outcome.stderr, ...kept]) expect(text).not.toContain(SASL_PASSWORD)
  })

  it('go on when a daemon dies under them', async () => {
    const { made, env } = home(`import { setTimeout as pause } from 'node:timers/promises'
import { existsSync } from 'node:fs'
${attached('桌面')}
test('before', async ({ vm }) => { expect(await vm.state()).toBe('paused') })
test('across its end', async ({ vm }) => {
  expect(vm.host.id).toBe('local')
  console.log('IN BODY')
  while (!existsSync('restarted')) await pause(20)
  expect(await vm.state({ timeoutMs: 20_000 })).toBe('paused')
})
test('after', async ({ vm }) => { expect(await vm.state()).toBe('paused') })`)
    const running = made.start(['test'], env)
    await running.printed('IN BODY')
    await local.kill('SIGKILL')
    await local.launch()
    made.write('restarted', '')
    const outcome = await running.finished
    expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 0 })
  })

  it('name the host that refuses them', async () => {
    const { made, env } = home(`${attached('desk')}test('never runs', async ({ vm }) => { await vm.state() })`)
    const outcome = await made.run(['test'], { ...env, LIBVIRT_PASSWORD: 'wrong' })
    expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 3 })
    expect(made.report().reports[0]).toMatchObject({ status: 'broken', verdict: 'infrastructure' })
    expect(outcome.stdout).toMatch(/ATP_POOL_UNAVAILABLE.*host "remote" at the first attempt/s)
  })
})
