/** What breaks around a test: one error with place, cause and code, exit code 3, and nothing left behind. */
import { describe, expect, it } from 'vitest'
import { labUp } from '../../lab/index.ts'
import { vmsNamed, within } from './processes.ts'
import { project, spec } from './project.ts'

/** A VM no standby has: a lab that is up for somebody keeps its own. */
const VM = 'vm-062'
const NAMED = `test.override('vmOptions', { domain: '${VM}' })\n`
const PROCESSES = `import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
const commandLine = (pid: string) => { try { return readFileSync('/proc/' + pid + '/cmdline', 'utf8') } catch { return '' } }
const killVm = (uuid: string) => {
  const pid = readdirSync('/proc').find((entry) => /^\\d+$/.test(entry) && /qemu-system/.test(commandLine(entry)) && commandLine(entry).includes(uuid))
  process.kill(Number(pid), 'SIGKILL')
}
const killDaemon = (uri: string) => {
  const socket = decodeURI(uri.replace(/.*socket=/, ''))
  process.kill(Number(readFileSync(join(dirname(socket), '../../pid'), 'utf8')), 'SIGKILL')
}
const later = (ms: number, work: () => void) => new Promise<void>((end) => setTimeout(() => { work(); end() }, ms))
`

describe('faults', () => {
  it('of guest, VM and host: the test is broken at its line, the next one works', async () => {
    const home = project({
      'specs/a.spec.ts': spec(`${PROCESSES}${NAMED}
test('agent', async ({ guest }) => {
  await guest.shell('(sleep 0.2; killall -9 qemu-ga) > /dev/null 2>&1 &')
  await later(500, () => {})
  await guest.ping()
})
test('machine', async ({ vm, guest }) => {
  await guest.ping()
  void later(300, () => killVm(vm.uuid))
  await guest.shell('sleep 30')
})
test('daemon', async ({ vm, guest }) => {
  await guest.ping()
  await later(0, () => killDaemon(vm.host.uri))
  await later(200, () => {})
  await guest.ping()
})
test('after all that', async ({ guest, keyboard }) => {
  await guest.ping()
  await keyboard.press('a', { verify: 'require' })
})`),
    })
    const outcome = await home.run(['test'])
    expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 3 })
    const [agent, machine, daemon, after] = home.report().reports
    const broken = (code: string) => ({
      status: 'broken',
      verdict: 'infrastructure',
      errors: [{ code, location: { file: 'specs/a.spec.ts', line: expect.any(Number) } }],
    })
    expect(agent).toMatchObject(broken('ATP_QGA_UNRESPONSIVE'))
    expect(machine).toMatchObject(broken('ATP_QGA_CLOSED'))
    expect(machine?.errors[0]?.message).toMatch(/vm-\d+ (stopped|crashed)/)
    expect(daemon).toMatchObject(broken('ATP_HOST_UNREACHABLE'))
    expect(after).toMatchObject({ status: 'passed' })
    // The code frames.
    expect(outcome.stdout).toMatch(/> \d+ \|   await guest\.shell\('sleep 30'\)/)
    expect(await within(5_000, () => vmsNamed(VM).length === 0)).toBe(true)
  })

  it('of the broker: the run says so and sweeps what it left', async () => {
    const home = project({
      'specs/a.spec.ts': spec(
        `${NAMED}test('holds', async ({ guest }) => { await guest.ping(); console.log('IN BODY'); await new Promise(() => {}) })`,
      ),
    })
    const running = home.start(['test'])
    await running.printed('IN BODY')
    const { broker } = JSON.parse((await home.run(['lab', 'status', '--json'])).stdout) as { broker: { pid: number } }
    process.kill(broker.pid, 'SIGKILL')
    const outcome = await running.finished
    expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 3 })
    const lost = { code: 'ATP_BROKER_LOST', verdict: 'infrastructure' }
    expect(home.report()).toMatchObject({ errors: [lost], reports: [{ status: 'broken', errors: [lost] }] })
    expect(await within(5_000, () => vmsNamed(VM).length === 0)).toBe(true)
  })

  it('of the disk: the lab cannot be written', async () => {
    const outcome = await project({ 'specs/a.spec.ts': spec(`test('x', () => {})`) }).run(['test'], {
      ATP_HOME: '/dev/null/atp',
    })
    expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 3 })
    expect(outcome.stdout).toMatch(/ATP_LAB_\w+: .*\/dev\/null\/atp[\s\S]*→/)
  })

  it('of the configuration: hosts that cannot be used', async () => {
    const wrong = await project({}, { lab: false, hosts: [{ id: 'desk', uri: 'http://desk/system' }] }).run(['test'])
    expect(wrong, wrong.stdout + wrong.stderr).toMatchObject({ code: 2 })
    expect(wrong.stderr).toMatch(/atp\.config\.mjs[\s\S]*"desk"[\s\S]*http[\s\S]*→/)
  })

  it('of the host: no VM of that name', async () => {
    const [office] = await labUp()
    const home = project(
      {
        'specs/a.spec.ts': spec(
          `test.override('vmOptions', { domain: 'desk' })\ntest('x', async ({ vm }) => { await vm.state() })`,
        ),
      },
      { lab: false, hosts: [{ id: 'office', uri: office?.uri }] },
    )
    const outcome = await home.run(['test'])
    expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 1 })
    expect(home.report().reports).toMatchObject([
      {
        status: 'broken',
        verdict: 'spec',
        errors: [
          { code: 'ATP_VM_MISSING', message: expect.stringMatching(/"desk" on office[\s\S]*→/), location: { line: 4 } },
        ],
      },
    ])
  })
})
