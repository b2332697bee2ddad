/** Input that a guest damages, or that nobody sees: what specs make of it. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { project, spec } from './project.ts'

// The guest's PS/2 driver forgets the key A (scancode 1e).
const BREAK_A = 'setkeycodes 1e 0'
const files = {
  'specs/a.spec.ts': spec(`
test('required', async ({ guest, keyboard }) => {
  await guest.shell('${BREAK_A}')
  await keyboard.type('cat', { verify: 'require' })
})
test('observed', async ({ guest, keyboard }) => {
  await guest.shell('${BREAK_A}')
  expect(await keyboard.type('cat')).toMatchObject({ outcome: 'damaged', lost: 2 })
})
`),
  'specs/c.spec.ts': spec(`
test('matched', async ({ guest, keyboard }) => {
  await guest.shell('${BREAK_A}')
  expect(await keyboard.type('cat')).toBeDelivered()
})
test('unwatched', async ({ keyboard }) => {
  await keyboard.type('cat', { verify: 'off' })
})`),
  'specs/b.spec.yaml': `name: scenario
steps:
  - { action: command.exec, command: ${BREAK_A}, verify: true }
  - action: keyboard.type
    text: cat
    verify: true
`,
}

describe('verification', () => {
  it('turns specs red for one dropped key, and shows input that nobody saw', async () => {
    const home = project(files, { report: { allure: false, json: 'report.json', junit: 'junit.xml' } })
    const outcome = await home.run(['test'])
    expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 1 })
    const test = (name: string) => home.report().reports.find((one) => one.scenario_name.endsWith(name))
    const explained = { code: 'ATP_INPUT_DAMAGED', message: expect.stringContaining('sent KEY_A press, saw nothing') }
    expect(test('required')).toMatchObject({
      status: 'failed',
      verdict: 'product',
      errors: [{ ...explained, location: { line: 6 } }],
    })
    expect(test('scenario')).toMatchObject({
      status: 'failed',
      verdict: 'product',
      errors: [{ ...explained, location: { file: 'specs/b.spec.yaml', line: 4 } }],
    })
    expect(test('matched')).toMatchObject({
      status: 'failed',
      verdict: 'product',
      errors: [{ message: expect.stringContaining('KEY_A') }],
    })
    expect(test('observed')).toMatchObject({
      status: 'passed',
      unverified: 0,
      deliveries: [{ outcome: 'damaged', sent: 6, seen: 4, lost: 2 }],
    })
    expect(test('unwatched')).toMatchObject({
      status: 'passed',
      unverified: 1,
      deliveries: [{ outcome: 'unverified', seen: 0 }],
    })
    expect(outcome.stdout).toMatch(/unwatched.*unverified/)
    expect(outcome.stdout).toMatch(/passed with unverified input/)
    expect(readFileSync(join(home.dir, 'junit.xml'), 'utf8')).toMatch(
      /name="unwatched"[\s\S]*?<property name="unverified" value="1"\/>/,
    )
  })

  it('blames the infrastructure when required input cannot be observed', async () => {
    const home = project({
      'specs/a.spec.ts': spec(`
test('blind', async ({ guest, keyboard }) => {
  await guest.shell('rm /dev/input/event*')
  await keyboard.type('cat', { verify: 'require' })
})
test('blind, not required', async ({ guest, keyboard }) => {
  await guest.shell('rm /dev/input/event*')
  expect((await keyboard.type('cat')).reason).toContain('/dev/input/event')
})`),
    })
    const outcome = await home.run(['test'])
    expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 3 })
    expect(home.report().reports).toMatchObject([
      {
        status: 'broken',
        verdict: 'infrastructure',
        errors: [{ code: 'ATP_VERIFY_IMPOSSIBLE', location: { line: 6 } }],
      },
      { status: 'passed', unverified: 1 },
    ])
  })
})
