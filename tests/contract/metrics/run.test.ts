/** Metrics of a real run: the command line, its workers, and VMs of a libvirt daemon of our own. */
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, it, type TestContext } from 'vitest'
import { pollUntil } from '../../../framework/core/index.ts'
import { stopBroker } from '../../../framework/leases/launch.ts'
import { project, spec, type Project } from '../../lab/project.ts'
import { missingPart, PrivateDaemon, tinyDomain } from '../../support/remote-host/index.ts'
import { samplesOf, valueOf, type Sample } from '../../unit/metrics/samples.ts'

const missing = missingPart()
const VM = '指标'
const SECOND_VM = 'second'
const TOKEN = 'Tok-of-the-metrics-test'
let daemon: PrivateDaemon
let home: string

beforeAll(async () => {
  if (missing) return
  daemon = await PrivateDaemon.start()
  for (const name of [VM, SECOND_VM]) {
    daemon.virsh('define', daemon.file('tiny.xml', tinyDomain(name)))
    daemon.virsh('start', name)
  }
  home = daemon.clientFolder('home-of-atp')
})
afterAll(async () => {
  if (missing) return
  await stopBroker(join(home, 'broker'))
  await daemon.stop()
})

function needsDaemon({ skip }: TestContext): void {
  if (missing) skip(`no daemon can run here: ${missing}`)
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

function projectOn(files: Record<string, string>, config: Record<string, unknown>): Project {
  const hosts = [{ id: 'host-1', uri: `qemu+unix:///session?socket=${daemon.socketPath}` }]
  return project(files, { lab: false, hosts, ...config })
}

async function scrape(port: number, token = TOKEN): Promise<Sample[]> {
  const answer = await fetch(`http://127.0.0.1:${port}/metrics`, { headers: { authorization: `Bearer ${token}` } })
  expect(answer.status).toBe(200)
  return samplesOf(await answer.text())
}

/** A spec that makes calls whose number is known, and stays until the file `go` is there. */
const counting = (go: string, domain = VM) =>
  spec(`import { existsSync } from 'node:fs'
test.override({ vmOptions: { domain: '${domain}' } })
test('counts', async ({ vm, qmp }) => {
  for (let count = 0; count < 40; count++) await qmp.execute('query-status')
  for (let count = 0; count < 3; count++) await vm.state()
  process.stderr.write('calls made\\n')
  while (!existsSync('${go}')) await new Promise((resolve) => setTimeout(resolve, 50))
})`)

describe('metrics of a run', () => {
  it('count every call, and end with the run', async (context) => {
    needsDaemon(context)
    const port = await freePort()
    const go = join(daemon.root, 'go')
    const at = projectOn({ 'specs/a.spec.ts': counting(go) }, { metrics: { port, token: { env: 'TOKEN' } } })
    const running = at.start(['test', '--reporter', 'plain'], { ATP_HOME: home, TOKEN, ATP_LOG: 'qmp=trace' })
    await running.printed('calls made')
    const calls = { host: 'host-1', operation: 'monitor-command', outcome: 'ok' }
    const samples = await pollUntil('the figures', { timeoutMs: 5000 }, async () => {
      const now = await scrape(port)
      return (valueOf(now, 'atp_libvirt_calls_total', calls) ?? 0) >= 40 ? now : undefined
    })
    expect(valueOf(samples, 'atp_libvirt_calls_total', calls)).toBe(40)
    expect(valueOf(samples, 'atp_libvirt_call_duration_count', calls)).toBe(40)
    expect(valueOf(samples, 'atp_libvirt_call_duration_bucket', { ...calls, le: '+Inf' })).toBe(40)
    const meanS = (valueOf(samples, 'atp_libvirt_call_duration_sum', calls) as number) / 40
    expect(meanS).toBeGreaterThan(0.00005)
    expect(meanS).toBeLessThan(1)
    expect(valueOf(samples, 'atp_host_connections', { host: 'host-1', role: 'control' })).toBe(1)
    expect(valueOf(samples, 'atp_host_connections', { host: 'host-1', role: 'calls' })).toBe(1)
    expect(valueOf(samples, 'atp_host_state', { host: 'host-1', state: 'connected' })).toBe(1)
    const pool = (name: string, labels = {}) => valueOf(samples, `atp_pool_${name}`, { host: 'host-1', ...labels })
    expect(pool('connections')).toBe(1)
    expect(pool('connections', { state: 'active' })).toBe(1)
    expect(pool('uses')).toBe(1)
    expect(pool('waiting')).toBe(0)
    expect(pool('failures_total') ?? 0).toBe(0)
    // The VM was looked for, and then opened.
    expect(pool('acquire_duration_count')).toBe(2)
    expect(pool('connect_duration_count')).toBe(1)
    expect(valueOf(samples, 'target_info', { service_name: 'atp' })).toBe(1)
    expect(samples.flatMap(({ labels }) => Object.values(labels))).not.toContain(VM)
    expect((await fetch(`http://127.0.0.1:${port}/metrics`)).status).toBe(401)

    daemon.file('go', '')
    const outcome = await running.finished
    expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 0 })
    expect(outcome.stdout).toContain(`http://127.0.0.1:${port}/metrics with the configured token`)
    expect(outcome.stdout + outcome.stderr).not.toContain(TOKEN)
    // Logs of workers are lines like all others, and no output of tests.
    const lines = [...outcome.stderr.matchAll(/^\S+Z trace +(\d+) qmp: 指标 qmp out .*query-status/gm)]
    expect(lines).toHaveLength(40)
    expect(lines.map(([, pid]) => Number(pid))).not.toContain(running.child.pid)
    expect(outcome.stdout).not.toContain('query-status')
    await expect(fetch(`http://127.0.0.1:${port}/metrics`)).rejects.toThrow()
  })

  it('make a token that only the user can read, and add workers up', async (context) => {
    needsDaemon(context)
    const go = join(daemon.root, 'go-2')
    const specs = { 'specs/a.spec.ts': counting(go), 'specs/b.spec.ts': counting(go, SECOND_VM) }
    const at = projectOn(specs, { metrics: { port: 0 }, workers: 2 })
    const running = at.start(['test', '--reporter', 'plain'], { ATP_HOME: home })
    let text = ''
    for (const stream of [running.child.stdout, running.child.stderr])
      stream?.on('data', (more: string) => (text += more))
    await pollUntil('both files', { timeoutMs: 30_000 }, async () => text.split('calls made').length > 2 || undefined)
    const [, url = '', file = ''] = /metrics: (\S+) with the token in (\S+)/.exec(text) ?? []
    const path = join(at.dir, file)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    const token = readFileSync(path, 'utf8').trim()
    expect(token).toMatch(/^[\w-]{43}$/)
    const port = Number(new URL(url).port)
    const calls = { host: 'host-1', operation: 'monitor-command', outcome: 'ok' }
    const count = await pollUntil('both workers', { timeoutMs: 5000 }, async () => {
      const value = valueOf(await scrape(port, token), 'atp_libvirt_calls_total', calls) ?? 0
      return value >= 80 ? value : undefined
    })
    expect(count).toBe(80)
    const connections = { host: 'host-1', role: 'control' }
    expect(valueOf(await scrape(port, token), 'atp_host_connections', connections)).toBe(2)
    daemon.file('go-2', '')
    const outcome = await running.finished
    expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 0 })
    expect(outcome.stdout + outcome.stderr).not.toContain(token)
    expect(existsSync(path)).toBe(false)
  })

  it('stop a run whose port is taken before any test', async (context) => {
    needsDaemon(context)
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const at = projectOn({ 'specs/a.spec.ts': spec(`test('never', () => {})`) }, { metrics: { port } })
    const outcome = await at.run(['test', '--reporter', 'plain'], { ATP_HOME: home })
    server.close()
    expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 2 })
    expect(outcome.stdout + outcome.stderr).toContain('ATP_METRICS_LISTEN')
    expect(outcome.stdout + outcome.stderr).not.toContain('never')
  })

  it('are off by default: no port, and nothing of it is loaded', async (context) => {
    needsDaemon(context)
    const go = join(daemon.root, 'go-3')
    const at = projectOn({ 'specs/a.spec.ts': counting(go) }, {})
    at.write('watch-modules.mjs', WATCH_MODULES)
    const running = at.start(['test', '--reporter', 'plain'], {
      ATP_HOME: home,
      NODE_OPTIONS: `--import=${pathToFileURL(join(at.dir, 'watch-modules.mjs')).href}`,
      MODULES_FILE: join(at.dir, 'modules.txt'),
    })
    await running.printed('calls made')
    const ports = listeningPorts(descendants(running.child.pid as number))
    daemon.file('go-3', '')
    const outcome = await running.finished
    expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 0 })
    expect(ports).toEqual([])
    const modules = readFileSync(join(at.dir, 'modules.txt'), 'utf8').split('\n')
    expect(modules.filter((url) => url.includes('/framework/runner/worker/')).length).toBeGreaterThan(2)
    expect(modules.filter((url) => /@opentelemetry|framework\/metrics\//.test(url))).toEqual([])
  })
})

/** Writes down every module that is loaded, in all processes. */
const WATCH_MODULES = `import { appendFileSync } from 'node:fs'
import { registerHooks } from 'node:module'
registerHooks({
  load(url, context, next) {
    appendFileSync(process.env.MODULES_FILE, url + '\\n')
    return next(url, context)
  },
})
`

function descendants(pid: number): number[] {
  const children = readdirSync(`/proc/${pid}/task`).flatMap((task) =>
    readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number),
  )
  return [pid, ...children.flatMap(descendants)]
}

/** TCP ports on which any of the processes listens. */
function listeningPorts(pids: readonly number[]): number[] {
  const inodes = new Set(
    pids.flatMap((pid) =>
      readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
        try {
          return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? []
        } catch {
          // Closed in between.
          return []
        }
      }),
    ),
  )
  const LISTEN = '0A'
  return ['tcp', 'tcp6'].flatMap((name) =>
    readFileSync(`/proc/net/${name}`, 'utf8')
      .split('\n')
      .slice(1)
      .map((line) => line.trim().split(/\s+/))
      .filter((fields) => fields[3] === LISTEN && inodes.has(fields[9] as string))
      .map((fields) => parseInt((fields[1] as string).split(':')[1] as string, 16)),
  )
}
