/** The command line on projects that need no VM. */
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { project, spec, type Project } from './project.ts'

const local = (files: Record<string, string>, config: Record<string, unknown> = {}) =>
  project(files, { lab: false, ...config })
const yaml = (name: string, more = '') => `name: ${name}\n${more}steps:\n  - action: wait\n    duration: 10ms\n`
/** Titles with their ends: "row x passed". */
const ends = (home: Project) => home.report().reports.map((test) => `${test.scenario_name} ${test.status}`)
const named = (home: Project, name: string) => {
  const test = home.report().reports.find((one) => one.scenario_name.endsWith(name))
  if (!test) throw new Error(`no test "${name}" in the report`)
  return test
}

describe('what a test can be', () => {
  it('is reported with its place, verdict and reason, once each', async () => {
    const home = local(
      {
        'specs/a.spec.ts': spec(`import { afterAll, beforeAll } from '@ocloudview/atp'
test('same', () => {})
test('same', () => { expect(1).toBe(2) })
test.for([['x', 1], ['y', 2]] as const)('row %s', ([, n], { task }) => { expect(task.name).toBe(n === 1 ? 'row x' : 'row y') })
test.skip('skipped', () => {})
test.todo('later')
test('skips itself', ({ skip }) => { skip('no licence here') })
describe('suite', { timeout: 200 }, () => {
  test('suite limit', async () => { await new Promise(() => {}) })
  test('own limit', { timeout: 100 }, async () => { await new Promise(() => {}) })
})
test('default step', async ({ step }) => { await step('waits', () => new Promise(() => {})) })
test('long step', async ({ step }) => { await step('waits', () => new Promise((end) => setTimeout(end, 600)), { timeoutMs: 5000 }) })
test('throws', () => { throw new TypeError('mine') })
describe('before', () => { beforeAll(() => { throw new Error('cannot prepare') }); test('cut off', () => {}) })
describe('after', () => { afterAll(() => { throw new Error('cannot clean') }); test('fine', () => {}) })`),
      },
      { timeouts: { step: '300ms' }, report: { allure: false, json: 'report.json', junit: 'junit.xml' } },
    )
    const outcome = await home.run(['test'])
    expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 1 })
    const all = home.report().reports
    expect(new Set(all.map((test) => test.test)).size).toBe(all.length)
    expect(all.map((test) => [test.scenario_name.split(' › ').at(-1), test.line, test.status, test.verdict])).toEqual([
      ['same', 4, 'passed', null],
      ['same', 5, 'failed', 'product'],
      ['row x', 6, 'passed', null],
      ['row y', 6, 'passed', null],
      ['skipped', 7, 'skipped', null],
      ['later', 8, 'skipped', null],
      ['skips itself', 9, 'skipped', null],
      ['suite limit', 11, 'failed', 'product'],
      ['own limit', 12, 'failed', 'product'],
      ['default step', 14, 'failed', 'product'],
      ['long step', 15, 'passed', null],
      ['throws', 16, 'broken', 'spec'],
      ['cut off', 17, 'broken', 'spec'],
      ['fine', 18, 'passed', null],
      ['a hook of the suite failed', 18, 'broken', 'spec'],
    ])
    expect(['skipped', 'later', 'skips itself'].map((name) => named(home, name).reason)).toEqual([
      'marked as skip',
      'marked as todo',
      'no licence here',
    ])
    expect(named(home, 'suite limit').errors[0]).toMatchObject({
      code: 'ATP_TEST_TIMEOUT',
      location: { line: 11 },
      message: expect.stringContaining('200 ms'),
    })
    expect(named(home, 'own limit').errors[0]?.message).toContain('100 ms')
    expect(named(home, 'default step').errors[0]).toMatchObject({
      code: 'ATP_STEP_TIMEOUT',
      location: { line: 14 },
      message: expect.stringMatching(/"waits".*300 ms/),
    })
    expect(named(home, 'cut off').errors[0]).toMatchObject({ message: 'cannot prepare', location: { line: 17 } })
    expect(outcome.stdout).toMatch(/specs\/a\.spec\.ts:11:\d+/)
    expect(readFileSync(join(home.dir, 'junit.xml'), 'utf8').match(/<testcase/g)).toHaveLength(all.length)
  })

  it('flaky after a retry; --fail-on-flaky makes that an error', async () => {
    const home = local({
      'specs/a.spec.ts': spec(`import { existsSync, writeFileSync } from 'node:fs'
test('second time', () => { if (!existsSync('once')) { writeFileSync('once', ''); throw new Error('first time') } })`),
    })
    const outcome = await home.run(['test', '--retry', '1'])
    expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 0 })
    expect(named(home, 'second time')).toMatchObject({
      status: 'passed',
      flaky: true,
      attempts: [{ status: 'broken' }, { status: 'passed' }],
    })
    expect(outcome.stdout).toMatch(/flaky/)
    rmSync(join(home.dir, 'once'))
    const strict = await home.run(['test', '--retry', '1', '--fail-on-flaky'])
    expect(strict, strict.stdout + strict.stderr).toMatchObject({ code: 1 })
  })
})

describe('which tests run', () => {
  const files = {
    'specs/a.spec.ts': spec(`test('one', { tags: ['smoke'] }, () => {})
test('two', () => {})
test.skip('never', () => {})`),
    'specs/sub/b.spec.yaml': yaml('three', 'tags: [smoke]\n'),
    'specs/sub/c.spec.yaml': yaml('four'),
  }
  it('those that filters ask for, and no others are reported', async () => {
    const wanted: [string[], string[]][] = [
      [['specs/sub'], ['three passed', 'four passed']],
      [['specs/a.spec.ts:4'], ['two passed']],
      [['specs/sub/b.spec.yaml:4'], ['three passed']],
      [
        ['--name', '^t(wo|hree)$'],
        ['two passed', 'three passed'],
      ],
      [
        ['--tags', 'smoke'],
        ['one passed', 'three passed'],
      ],
    ]
    // At once, as they share nothing.
    const ran = wanted.map(async ([args, tests]) => {
      const home = local(files, { tags: ['smoke'] })
      const outcome = await home.run(['test', ...args])
      expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 0 })
      expect(ends(home).toSorted(), args.join(' ')).toEqual(tests.toSorted())
    })
    await Promise.all(ran)
  })

  it('shards cover everything once', async () => {
    const home = local(files, { tags: ['smoke'] })
    const seen: string[] = []
    for (const shard of ['1/2', '2/2']) {
      const outcome = await home.run(['test', '--shard', shard])
      expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 0 })
      seen.push(...ends(home))
    }
    expect(seen.toSorted()).toEqual(['four passed', 'never skipped', 'one passed', 'three passed', 'two passed'])
  })

  it('those after the last allowed failure do not; they say so', async () => {
    const home = local({
      'specs/a.spec.ts': spec(`test('fails', () => { expect(1).toBe(2) })\ntest('after', () => {})`),
      'specs/b.spec.ts': spec(`test('elsewhere', () => {})`),
    })
    const outcome = await home.run(['test', '--bail', '1', '--workers', '1'])
    expect(outcome.code).toBe(1)
    expect(ends(home).toSorted()).toEqual(['after pending', 'elsewhere pending', 'fails failed'])
    expect(named(home, 'after').reason).toMatch(/bail/)
    expect(outcome.stdout).toMatch(/2 never ran/)
  })

  it('none: 2, and what was looked for', async () => {
    const wanted: [string[], RegExp][] = [
      [['--name', 'nobody'], /ATP_NO_TESTS.*nobody/],
      [['specs/a.spec.ts:1'], /a\.spec\.ts in line 1/],
      [['other.spec'], /ATP_NO_TESTS.*other\.spec/],
    ]
    const ran = wanted.map(async ([args, message]) => {
      const outcome = await local(files, { tags: ['smoke'] }).run(['test', ...args])
      expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 2 })
      expect(outcome.stdout).toMatch(message)
    })
    await Promise.all(ran)
  })
})

describe('a worker that dies', () => {
  it('takes no other file with it, and its own runs once more', async () => {
    const dies = `await new Promise((end) => setTimeout(end, 100)); process.kill(process.pid, 'SIGKILL')`
    const home = local({
      'specs/a.spec.ts': spec(`import { existsSync, writeFileSync } from 'node:fs'
test('before', () => {})
test('once', async () => { if (!existsSync('died')) { writeFileSync('died', ''); ${dies} } })`),
      'specs/b.spec.ts': spec(`test('innocent', () => {})`),
      'specs/c.spec.ts': spec(`test('always', async () => { ${dies} })`),
    })
    const outcome = await home.run(['test', '--workers', '1'])
    expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 1 })
    const flaky = home
      .report()
      .reports.map((test) => `${test.scenario_name} ${test.status}${test.flaky ? ' flaky' : ''}`)
    expect(flaky.toSorted()).toEqual(['always broken', 'before passed', 'innocent passed', 'once passed flaky'])
    expect(named(home, 'always')).toMatchObject({ verdict: 'framework', errors: [{ code: 'ATP_WORKER_DIED' }] })
  })
})

describe('exit codes, where several apply', () => {
  const failing = spec(`test('fails', () => { expect(1).toBe(2) })`)
  const noHost = spec(`test('no VM', async ({ vm }) => { await vm.state() })`).replace(
    'test(',
    `test.override('vmOptions', { domain: 'desk' })\ntest(`,
  )
  const hosts = { hosts: [{ id: 'gone', uri: 'qemu+unix:///session?socket=/nonexistent/sock' }] }

  it('3 over 1', async () => {
    const outcome = await local({ 'specs/a.spec.ts': failing, 'specs/b.spec.ts': noHost }, hosts).run(['test'])
    expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 3 })
  })

  it('2 over 3 and 1', async () => {
    const home = local(
      { 'specs/a.spec.ts': failing, 'specs/b.spec.ts': noHost, 'specs/c.spec.ts': 'this is no TypeScript' },
      hosts,
    )
    const outcome = await home.run(['test'])
    expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 2 })
  })

  it('130 over all', async () => {
    const hangs = spec(`test('hangs', async () => { console.log('IN BODY'); await new Promise(() => {}) })`)
    const home = local({ 'specs/a.spec.ts': failing, 'specs/c.spec.ts': 'no TypeScript', 'specs/d.spec.ts': hangs })
    const running = home.start(['test'])
    await running.printed('IN BODY')
    process.kill(running.child.pid as number, 'SIGINT')
    expect((await running.finished).code).toBe(130)
    expect(named(home, 'hangs')).toMatchObject({ status: 'pending', reason: expect.stringContaining('interrupted') })
  })
})

describe('watch', () => {
  it('runs again what changed, and ends with 130 on Ctrl-C', async () => {
    const home = local({
      'specs/a.spec.ts': spec(`test('first version', () => {})`),
      'specs/b.spec.ts': spec(`test('constant', () => {})`),
    })
    const running = home.start(['test', '--watch'])
    await running.printed('first version')
    await running.printed('constant')
    home.write('specs/a.spec.ts', spec(`test('second version', () => {})`))
    await running.printed('second version')
    process.kill(-(running.child.pid as number), 'SIGINT')
    const outcome = await running.finished
    expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 130 })
    expect(ends(home).toSorted()).toEqual(['constant passed', 'second version passed'])
    expect(outcome.stdout.match(/constant/g)).toHaveLength(1)
  })
})
