/** Many VMs on one connection, in small; "npm run soak" has it with 50 booted guests. */
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { HostConnection } from '../../../framework/hosts/index.ts'
import type { Domain } from '../../../framework/protocols/libvirt/index.ts'
import type { ProtocolTarget } from '../../../framework/protocols/protocol.ts'
import { CHANNEL, missingPart, PrivateDaemon, tinyDomain } from '../../support/remote-host/index.ts'

const VMS = 8
const CALLS_PER_VM = 30

const missing = missingPart()
if (missing) console.warn(`tests of many VMs on one connection are skipped: ${missing}`)

describe.skipIf(missing)(`${VMS} VMs on one connection`, () => {
  let daemon: PrivateDaemon
  let log: string
  let host: HostConnection
  let domains: Domain[]
  let targets: ProtocolTarget[]

  beforeAll(async () => {
    daemon = PrivateDaemon.prepare()
    log = `${daemon.root}/libvirtd.log`
    daemon.configure({ config: [`log_outputs = "3:file:${log}"`] })
    await daemon.launch()
    const uri = `qemu+unix:///session?socket=${daemon.socketPath}`
    host = await HostConnection.open({ id: 'many', uri }, { connections: 'shared' })
    const client = await host.client('control')
    const create = (index: number) => client.createXml(tinyDomain(`many-${index}`), { paused: true, autodestroy: true })
    domains = await Promise.all(Array.from({ length: VMS }, (_, index) => create(index)))
    targets = await Promise.all(domains.map((domain) => host.target(domain)))
  })
  afterAll(async () => {
    await host?.close()
    await daemon?.stop()
  })

  it('answer every call, hold their channels open, tell every event, and ask for nothing too many', async () => {
    const streams = await Promise.all(targets.map((target) => target.openChannel(CHANNEL)))
    expect(host.stats().roles.control).toMatchObject({ streams: VMS })
    const query = '{"execute":"query-status"}'
    const answers = await Promise.all(
      targets.flatMap((target) => Array.from({ length: CALLS_PER_VM }, () => target.monitorCommand(query))),
    )
    expect(answers.filter((answer) => answer.includes('"return"'))).toHaveLength(VMS * CALLS_PER_VM)

    const lifecycle: string[] = []
    const monitor: string[] = []
    await host.onLifecycle(undefined, ({ domain, event }) => lifecycle.push(`${domain.name} ${event}`))
    for (const { name, onMonitorEvent } of targets)
      await onMonitorEvent(({ event }) => monitor.push(`${name} ${event}`))
    const client = await host.client('calls')
    await Promise.all(domains.map((domain) => client.resume(domain).then(() => client.suspend(domain))))
    const both = (...events: string[]) =>
      domains.flatMap(({ name }) => events.map((event) => `${name} ${event}`)).toSorted()
    await expect.poll(() => lifecycle.toSorted(), { timeout: 10_000 }).toEqual(both('resumed', 'suspended'))
    await expect.poll(() => monitor.toSorted(), { timeout: 10_000 }).toEqual(both('RESUME', 'STOP'))

    expect(host.stats().roles.control).toMatchObject({ state: 'connected', pending: 0, streams: VMS, losses: 0 })
    for (const stream of streams) stream.destroy()
    expect(readFileSync(log, 'utf8')).not.toContain('hit max requests limit')
  })
})
