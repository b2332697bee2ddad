/** A leased VM has lost everything its predecessor left in it. */
import { describe, expect, it } from 'vitest'
import { labVms } from './processes.ts'
import { project, spec } from './project.ts'

const traces = (name: string) =>
  spec(`test.override('vmOptions', { domain: '${name}' })
test('leaves traces', async ({ vm, guest, keyboard, serial }) => {
  await guest.file('/root/left').write('x')
  await guest.shell('sleep 4321 > /dev/null 2>&1 &')
  await guest.shell('date -s @1000000000')
  expect((await guest.shell('date +%s')).stdoutText).toMatch(/^10000000/)
  await keyboard.down('shift', { verify: 'require' })
  await keyboard.down('x', { verify: 'require' })
  await serial.send(Buffer.from('half a mess'))
  console.log('uuid', vm.uuid)
})
test('finds none', async ({ vm, guest, keyboard }) => {
  console.log('uuid', vm.uuid)
  expect(vm.name).toBe('${name}')
  expect(await guest.file('/root/left').exists()).toBe(false)
  expect((await guest.shell('ps')).stdoutText).not.toContain('4321')
  expect(Math.abs(Number((await guest.shell('date +%s')).stdoutText) - Date.now() / 1000)).toBeLessThan(10)
  const delivery = await keyboard.type('echo low > /tmp/low\\n', { verify: 'require' })
  expect(delivery).toMatchObject({ lost: 0, stuck: [] })
  await expect(guest.file('/tmp/low')).toHaveText('low\\n')
  const responder = await vm.responder()
  expect(Buffer.from((await responder.run('echo fresh')).output).toString()).toBe('fresh\\n')
})`)
/** The machine each test ran on, in order. */
const uuids = (stdout: string) => [...stdout.matchAll(/uuid ([0-9a-f-]{36})/g)].map((match) => match[1])

describe('a lease is pristine', () => {
  it('on a clone of its own', async () => {
    const outcome = await project({ 'specs/a.spec.ts': traces('vm-031') }).run(['test'])
    expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 0 })
    const [first, second] = uuids(outcome.stdout)
    expect(second).not.toBe(first)
  })

  it('on a recycled standby', async () => {
    const home = project({})
    const status = JSON.parse((await home.run(['lab', 'status', '--json'])).stdout) as {
      broker: { standbys: Record<string, number> } | null
    }
    const up = await home.run(['lab', 'up', '--standbys', '1'])
    expect(up, up.stdout + up.stderr).toMatchObject({ code: 0 })
    try {
      home.write('specs/a.spec.ts', traces(labVms()[0]?.name ?? 'none'))
      const outcome = await home.run(['test'])
      expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 0 })
      const [first, second] = uuids(outcome.stdout)
      // The same machine, put back into its first state.
      expect(second).toBe(first)
    } finally {
      // As it was: somebody may be using this lab.
      const [[profile, count] = ['ps2', 0]] = Object.entries(status.broker?.standbys ?? {})
      await home.run(['lab', 'up', '--standbys', String(count), '--profile', profile])
    }
  })
})
