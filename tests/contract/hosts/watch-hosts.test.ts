/** `atp test --watch` while hosts come and go. */
import { mkdtempSync, rmSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { project, spec } from '../../lab/project.ts'
import { missingHostPart, PrivateDaemon, tinyDomain } from '../../support/remote-host/index.ts'

const missing = missingHostPart([])
if (missing) console.warn(`tests of hosts that come and go are skipped: ${missing}`)

describe.skipIf(missing)('a watching run', () => {
  const daemons: PrivateDaemon[] = []
  beforeAll(async () => {
    for (const name of ['first', 'second']) {
      const daemon = await PrivateDaemon.start()
      daemons.push(daemon)
      daemon.virsh('define', daemon.file('vm.xml', tinyDomain(name)))
    }
  })
  afterAll(() => Promise.all(daemons.map((daemon) => daemon.stop())))

  const entry = (at: number) =>
    `  - id: host${at}\n    uri: qemu+unix:///session?socket=${(daemons[at] as PrivateDaemon).socketPath}\n`

  it('takes a new host over, says why a bad file is left alone, and lets a removed one go', async () => {
    const state = mkdtempSync('/tmp/atp-wh-')
    const made = project(
      {
        'specs/a.spec.ts': spec(`
test.override('vmOptions', { domain: 'second' })
test('on the second host', async ({ vm }) => { expect([vm.host.id, await vm.state()]).toEqual(['host1', 'shutoff']) })`),
        'hosts.yaml': `hosts:\n${entry(0)}`,
      },
      { lab: false },
    )
    const env = { ATP_HOME: state }
    onTestFinished(async () => {
      await made.run(['lab', 'down'], env)
      rmSync(state, { recursive: true, force: true })
    })
    const running = made.start(['test', '--watch'], env)
    await running.printed('ATP_VM_MISSING')
    await running.printed('0 passed, 0 failed, 1 broken; waiting')
    made.write('hosts.yaml', `hosts:\n${entry(0)}${entry(1)}`)
    await running.printed('added host1')
    await running.printed('1 passed, 0 failed, 0 broken; waiting')
    made.write('hosts.yaml', `hosts:\n${entry(0)}  - id: host1\n    uri: qemu+telnet://nowhere/system\n`)
    await running.printed('the hosts stay as they are')
    made.write('hosts.yaml', `hosts:\n${entry(1)}`)
    await running.printed('removed host0')
    running.child.kill('SIGINT')
    expect(await running.finished).toMatchObject({ code: 130 })
  })
})
