import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { HostConnection } from '../../../framework/hosts/index.ts'
import { LibvirtClient, type Domain } from '../../../framework/protocols/libvirt/index.ts'
import { connectUnix } from '../../../framework/transport/index.ts'
import { missingPart, PrivateDaemon, tinyDomain } from '../../support/remote-host/index.ts'

const STATUS = '{"execute":"query-status"}'
const missing = missingPart()
if (missing) console.warn(`tests of VMs that hang are skipped: ${missing}`)

describe.skipIf(missing)('VMs whose QEMU hangs', () => {
  let daemon: PrivateDaemon
  let owner: LibvirtClient
  let victims: Domain[]
  let healthy: Domain[]

  const dial = () => connectUnix(daemon.socketPath)
  const open = async () => LibvirtClient.open(await dial(), { path: '/session', relief: dial })
  const stop = (vms: Domain[]) => vms.forEach(({ name }) => process.kill(daemon.qemuPid(name), 'SIGSTOP'))
  const goOn = (vms: Domain[]) => vms.forEach(({ name }) => process.kill(daemon.qemuPid(name), 'SIGCONT'))

  beforeAll(async () => {
    daemon = await PrivateDaemon.start()
    owner = await LibvirtClient.open(await dial(), { path: '/session' })
    const make = (name: string) => owner.createXml(tinyDomain(name), { paused: true, autodestroy: true })
    victims = await Promise.all(['s1', 's2', 's3', 's4', 's5'].map(make))
    healthy = await Promise.all(['h1', 'h2'].map(make))
  })
  afterAll(async () => {
    goOn(victims ?? [])
    await owner?.close()
    await daemon?.stop()
  })

  it.each([1, 3, 5])('%i of them: calls to the others settle while theirs are pending', async (count) => {
    const client = await open()
    const stuckVms = victims.slice(0, count)
    stop(stuckVms)
    try {
      let settled = 0
      const stuck = stuckVms.flatMap((vm) =>
        Array.from({ length: 4 }, () => client.monitorCommand(vm, STATUS).finally(() => settled++)),
      )
      const all = Promise.allSettled(stuck)
      for (let round = 0; round < 25; round++) {
        for (const vm of healthy) {
          expect(await client.monitorCommand(vm, STATUS)).toContain('"running":false')
          expect(await client.getState(vm)).toMatchObject({ state: 'paused' })
        }
      }
      expect((await client.screenshot(healthy[0] as Domain)).bytes.length).toBeGreaterThan(1000)
      expect(settled).toBe(0)
      expect(client.stats()).toMatchObject({ pending: 4 * count, inFlight: count, queued: 3 * count })
      expect(client.stats().connections).toBe(count < 3 ? 1 : count < 6 ? 2 : 3)
      goOn(stuckVms)
      expect((await all).every(({ status }) => status === 'fulfilled')).toBe(true)
      expect(client.stats()).toMatchObject({ pending: 0, inFlight: 0, queued: 0 })
    } finally {
      goOn(stuckVms)
      await client.close()
    }
  })

  it('a further connection ends with the first one, and takes the calls it carries with it', async () => {
    const client = await open()
    stop(victims)
    try {
      const stuck = Promise.allSettled(victims.map((vm) => client.monitorCommand(vm, STATUS)))
      await client.monitorCommand(healthy[0] as Domain, STATUS)
      expect(client.stats()).toMatchObject({ connections: 2, inFlight: 5 })
      await client.close()
      for (const outcome of await stuck)
        expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'ATP_LIBVIRT_CLOSED' } })
      expect(client.stats()).toMatchObject({ pending: 0, queued: 0 })
    } finally {
      goOn(victims)
    }
  })

  it('destroying more of them than a connection has slots delays no other call', async () => {
    const client = await open()
    const make = (name: string) => client.createXml(tinyDomain(name), { paused: true, autodestroy: true })
    const doomed = await Promise.all(['d1', 'd2', 'd3', 'd4'].map(make))
    stop(doomed)
    let destroyed = 0
    const ends = Promise.all(doomed.map((vm) => client.destroy(vm).finally(() => destroyed++)))
    for (let round = 0; round < 20; round++) {
      expect(await client.getState(healthy[0] as Domain)).toMatchObject({ state: 'paused' })
      expect(await client.monitorCommand(healthy[1] as Domain, STATUS)).toContain('"running":false')
    }
    expect(destroyed).toBe(0)
    await ends
    await client.close()
  })

  it.each(['separate', 'shared'] as const)(
    'harm nobody on a host connection with %s connections',
    async (connections) => {
      const uri = `qemu+unix:///session?socket=${daemon.socketPath}`
      const host = await HostConnection.open({ id: 'h', uri }, { connections })
      const targets = await Promise.all(victims.map((vm) => host.target(vm)))
      const other = await host.target(healthy[0] as Domain)
      stop(victims)
      try {
        let settled = 0
        const stuck = Promise.allSettled(targets.map((one) => one.monitorCommand(STATUS).finally(() => settled++)))
        expect(await other.monitorCommand(STATUS)).toContain('"running":false')
        expect(await other.xml()).toContain(other.uuid)
        expect(await (await host.client('control')).getState(healthy[1] as Domain)).toMatchObject({ state: 'paused' })
        expect(settled).toBe(0)
        goOn(victims)
        expect((await stuck).every(({ status }) => status === 'fulfilled')).toBe(true)
      } finally {
        goOn(victims)
        await host.close()
      }
    },
  )
})
