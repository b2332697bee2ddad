import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { describe, expect, it, onTestFinished } from 'vitest'
import { processesOf, vmsNamed, within } from './processes.ts'
import { project, spec } from './project.ts'

/** A VM no standby has: a lab that is up for somebody keeps its own, and replaces those it hands out. */
const VM = 'vm-061'
const NAMED = `test.override('vmOptions', { domain: '${VM}' })\n`

const hangs = spec(
  `${NAMED}test('hangs', async ({ guest }) => { await guest.ping(); console.log('IN BODY'); await new Promise(() => {}) })`,
)

describe('nothing leaks', () => {
  it('after SIGKILL of the command line', async () => {
    const running = project({ 'specs/a.spec.ts': hangs }).start(['test'])
    await running.printed('IN BODY')
    expect(vmsNamed(VM)).toHaveLength(1)
    process.kill(running.child.pid as number, 'SIGKILL')
    expect(await within(10_000, () => vmsNamed(VM).length === 0)).toBe(true)
  })

  it('after SIGKILL of the whole process group', async () => {
    const running = project({ 'specs/a.spec.ts': hangs }).start(['test'])
    await running.printed('IN BODY')
    expect(vmsNamed(VM)).toHaveLength(1)
    process.kill(-(running.child.pid as number), 'SIGKILL')
    expect(await within(10_000, () => vmsNamed(VM).length === 0)).toBe(true)
  })

  it('after SIGKILL while the VM is being made', async () => {
    const running = project({ 'specs/a.spec.ts': hangs }).start(['test'])
    expect(await within(60_000, () => vmsNamed(VM).length > 0)).toBe(true)
    process.kill(-(running.child.pid as number), 'SIGKILL')
    expect((await running.finished).stdout).not.toContain('IN BODY')
    expect(await within(10_000, () => vmsNamed(VM).length === 0)).toBe(true)
  })

  it('after Ctrl-C while the lab is being built', async () => {
    const home = mkdtempSync('/tmp/atp-')
    onTestFinished(() => rmSync(home, { recursive: true, force: true }))
    const running = project({ 'specs/a.spec.ts': hangs }).start(['test'], { ATP_HOME: home })
    await running.printed('guest image')
    process.kill(-(running.child.pid as number), 'SIGINT')
    const outcome = await running.finished
    expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 130 })
    expect(processesOf(home)).toEqual([])
    expect(readdirSync(home, { recursive: true }).filter((name) => String(name).includes('.building'))).toEqual([])
  })

  it('after a second Ctrl-C, which waits for no teardown', async () => {
    const running = project({
      'specs/a.spec.ts': spec(`
${NAMED}test('hangs', async ({ scope, guest }) => {
  scope.defer('stuck resource', () => new Promise(() => {}))
  await guest.ping()
  console.log('IN BODY')
  await new Promise(() => {})
})`),
    }).start(['test'])
    await running.printed('IN BODY')
    process.kill(-(running.child.pid as number), 'SIGINT')
    await running.printed('tearing down')
    process.kill(-(running.child.pid as number), 'SIGINT')
    expect((await running.finished).code).toBe(130)
    expect(await within(10_000, () => vmsNamed(VM).length === 0)).toBe(true)
  })

  it('"atp gc" removes what is left when the broker was killed as well', async () => {
    const home = project({ 'specs/a.spec.ts': hangs })
    const running = home.start(['test'])
    await running.printed('IN BODY')
    const status = JSON.parse((await home.run(['lab', 'status', '--json'])).stdout) as { broker: { pid: number } }
    process.kill(status.broker.pid, 'SIGKILL')
    process.kill(-(running.child.pid as number), 'SIGKILL')
    await running.finished
    expect(vmsNamed(VM)).toHaveLength(1)
    const gc = await home.run(['gc'])
    expect(gc, gc.stdout + gc.stderr).toMatchObject({ code: 0 })
    expect(gc.stdout).toContain(`removed ${VM}`)
    expect(await within(5_000, () => vmsNamed(VM).length === 0)).toBe(true)
  })

  it('after a worker process died: its test is broken, its file runs again', async () => {
    const home = project({
      'specs/a.spec.ts': spec(`
import { existsSync, writeFileSync } from 'node:fs'
${NAMED}test('dies once', async ({ guest }) => {
  await guest.ping()
  if (!existsSync('died')) { writeFileSync('died', ''); process.kill(process.pid, 'SIGKILL') }
})
test('after it', async ({ guest }) => { await guest.ping() })`),
    })
    const outcome = await home.run(['test'])
    expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 0 })
    const [first, second] = home.report().reports
    expect(first).toMatchObject({
      status: 'passed',
      flaky: true,
      attempts: [{ status: 'broken', verdict: 'framework' }, { status: 'passed' }],
    })
    expect(second).toMatchObject({ status: 'passed' })
    expect(vmsNamed(VM)).toEqual([])
  })

  it('after a set-up that times out and a teardown that hangs', async () => {
    const home = project(
      {
        'specs/a.spec.ts': spec(`
${NAMED}const slow = test.extend('slow', async ({ guest }) => { await guest.ping(); await new Promise(() => {}) })
slow('set-up hangs', async ({ slow: _ }) => {})
test('teardown hangs', async ({ scope, guest }) => {
  await guest.ping()
  scope.defer('stuck resource', () => new Promise(() => {}))
})`),
      },
      { timeouts: { lease: '5s', setup: '500ms', test: '1s', teardown: '500ms' } },
    )
    const outcome = await home.run(['test'])
    const [setup, teardown] = home.report().reports
    expect(setup).toMatchObject({
      status: 'broken',
      verdict: 'infrastructure',
      errors: [{ code: 'ATP_SETUP_TIMEOUT', location: { line: 6 } }],
    })
    expect(teardown?.attachments).toMatchObject([{ text: expect.stringContaining('stuck resource') }])
    expect(outcome.code).toBe(3)
    expect(vmsNamed(VM)).toEqual([])
  })
})
