/** 50 VMs with booted guests on one connection. */
import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { echo, openLoad, type Load } from '../../bench/support/mixed-load.ts'
import { log, withLabVms } from '../../bench/support/lab-vms.ts'

const VMS = 50
const CALLS = 1500
const CALLS_PER_S = 1000

it('50 VMs on one connection: monitors, channels and events, and no request too many', () =>
  withLabVms(VMS, async ({ vms, host, lab, signal }) => {
    const loads: Load[] = []
    for (const vm of vms) loads.push(await openLoad(vm, signal))
    expect(host.stats().roles.control?.streams).toBe(VMS)
    await Promise.all(loads.map(({ channel }, index) => echo(channel, `message ${index} 你好`)))

    const perVm = CALLS / VMS
    const started = performance.now()
    const answers = await Promise.all(
      loads.flatMap(({ qmp }) => Array.from({ length: perVm }, () => qmp.queryStatus({ timeoutMs: 60_000 }))),
    )
    const perS = (CALLS / (performance.now() - started)) * 1000
    log(`${CALLS} monitor calls at ${Math.round(perS)} a second`)
    expect(answers.filter(({ running }) => running)).toHaveLength(CALLS)

    const heard: string[] = []
    const stop = await host.onLifecycle(undefined, ({ domain, event }) => heard.push(`${domain.name} ${event}`))
    const readers = loads.map(({ qmp }) => [qmp.waitForEvent('STOP'), qmp.waitForEvent('RESUME')])
    await Promise.all(vms.map((vm) => vm.suspend().then(() => vm.resume())))
    await Promise.all(readers.flat())
    await expect.poll(() => heard.length, { timeout: 30_000 }).toBe(2 * VMS)
    expect(heard.toSorted()).toEqual(vms.flatMap(({ name }) => [`${name} resumed`, `${name} suspended`]).toSorted())
    await stop()

    expect(host.stats().roles.control).toMatchObject({ state: 'connected', pending: 0, streams: VMS, losses: 0 })
    expect(readFileSync(lab.log, 'utf8')).not.toContain('hit max requests limit')
    expect(perS).toBeGreaterThanOrEqual(CALLS_PER_S)
  }))
