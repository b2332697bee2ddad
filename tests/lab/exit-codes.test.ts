import { describe, expect, it } from 'vitest'
import { labVms, vmsBeyond, within } from './processes.ts'
import { project, spec } from './project.ts'

const passes = spec(`test('passes', async ({ guest }) => { await guest.ping() })`)

describe('exit codes', () => {
  it('0: passed on the first VM, and it is gone', async () => {
    const before = labVms()
    const home = project({ 'specs/a.spec.ts': passes })
    const outcome = await home.run(['test'])
    expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 0 })
    // Standbys of a lab that is up have the first names already, and are handed out first.
    const first = before.length === 0 ? ['vm-001'] : before.map((vm) => vm.name)
    expect(first).toContain(home.report().reports[0]?.vms[0]?.name)
    expect(vmsBeyond(before)).toEqual([])
  })

  it('1: a test failed; its evidence shows the machine', async () => {
    const home = project({
      'specs/a.spec.ts':
        spec(`test('fails', async ({ guest }) => { expect((await guest.shell('exit 3')).exitCode).toBe(0) })
test('awaits nothing', ({ guest }) => { expect(guest.file('/none')).toExist() })`),
    })
    const outcome = await home.run(['test'])
    expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 1 })
    const [test, forgotten] = home.report().reports
    expect(test).toMatchObject({ status: 'failed', verdict: 'product' })
    const names = test?.attachments.map((attachment) => attachment.name) ?? []
    expect(names).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/screen$/),
        expect.stringMatching(/serial console/),
        expect.stringMatching(/transcript/),
      ]),
    )
    expect(outcome.stdout).toContain('specs/a.spec.ts:3')
    expect(forgotten).toMatchObject({
      status: 'broken',
      verdict: 'spec',
      errors: [{ code: 'ATP_EXPECT_NOT_AWAITED', location: { line: 4 } }],
    })
  })

  it.each([
    ['no tests found', {}, ['test'], /no test/i],
    ['an unknown tag', { 'specs/a.spec.ts': spec(`test('x', { tags: ['smkoe'] }, () => {})`) }, ['test'], /smkoe/],
    ['an unknown option', {}, ['test', '--tgas', 'x'], /--tgas[\s\S]*--tags/],
    [
      'a broken scenario',
      { 'specs/a.spec.yaml': 'name: x\nsteps:\n  - action: wait\n    durration: 1s\n' },
      ['test'],
      /a\.spec\.yaml:4:5[\s\S]*duration/,
    ],
    ['a bad shard', { 'specs/a.spec.ts': passes }, ['test', '--shard', '3'], /1\/3/],
  ])('2: %s', async (_name, files, args, message) => {
    const outcome = await project(files as Record<string, string>).run(args)
    expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 2 })
    expect(outcome.stdout + outcome.stderr).toMatch(message)
  })

  it('2: an unknown setting names the file, the place and the one that was meant', async () => {
    const outcome = await project({}, { timeuots: {} }).run(['test'])
    expect(outcome.code).toBe(2)
    expect(outcome.stderr).toMatch(/atp\.config\.mjs[\s\S]*"timeuots"; did you mean "timeouts"/)
  })

  it('3: infrastructure; a host that is down', async () => {
    const home = project(
      {
        'specs/a.spec.ts': spec(
          `test.override('vmOptions', { domain: 'desk' })\ntest('x', async ({ vm }) => { await vm.state() })`,
        ),
      },
      { lab: false, hosts: [{ id: 'gone', uri: 'qemu+unix:///session?socket=/nonexistent/libvirt-sock' }] },
    )
    const outcome = await home.run(['test'])
    expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 3 })
    expect(outcome.stdout).toContain('/nonexistent/libvirt-sock')
  })

  it('130 and 143: interrupted, teardown done, reported, no VM left', async () => {
    const before = labVms()
    const signals = { SIGINT: 130, SIGTERM: 143 } as const
    const ran = Object.entries(signals).map(async ([signal, code]) => {
      const home = project({
        'specs/a.spec.ts': spec(`test('hangs', async ({ guest, scope }) => {
  scope.defer('note', () => console.log('TORN DOWN'))
  await guest.ping()
  console.log('IN BODY')
  await new Promise(() => {})
})`),
      })
      const running = home.start(['test'])
      await running.printed('IN BODY')
      process.kill(running.child.pid as number, signal as 'SIGINT')
      const outcome = await running.finished
      expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code })
      expect(outcome.stdout).toContain('TORN DOWN')
      expect(home.report()).toMatchObject({
        exit_code: code,
        reports: [{ status: 'pending', reason: expect.stringContaining('interrupted') }],
      })
    })
    await Promise.all(ran)
    expect(await within(2_000, () => vmsBeyond(before).length === 0)).toBe(true)
  })
})
