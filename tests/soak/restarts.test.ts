/** A daemon that dies again and again under 8 busy VMs: nothing is left of the connections that were lost. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, it } from 'vitest'
import { checkLoad, echo, LoadTally, openEcho, openLoad, runLoad, type Load } from '../../bench/support/mixed-load.ts'
import { sleep } from '../../framework/core/index.ts'
import { daemonPid, startHost } from '../../lab/hosts.ts'
import { log, withLabVms, type LabVms } from '../../bench/support/lab-vms.ts'

const VMS = 8
const MINUTES = Number(process.env['ATP_SOAK_MINUTES'] ?? 30)
const RESTART_EVERY_MS = 60_000
const MONITOR_EVERY_MS = 20
const PENDING_PER_VM = 10
/** Restarts in which caches fill and code is compiled. */
const SETTLING = 4
/** More than the noise of a heap of 40 MB, less than a forgotten client with its buffers. */
const HEAP_BYTES_PER_RESTART = 64 * 1024

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

it(`for ${MINUTES} minutes a daemon is killed every minute, and nothing piles up`, () =>
  withLabVms(VMS, async (lab) => {
    const loads: Load[] = []
    for (const vm of lab.vms) loads.push(await openLoad(vm, lab.signal))
    const tally = new LoadTally()
    const heaps: number[] = []
    const first = leftovers(lab)
    const end = performance.now() + MINUTES * 60_000
    for (let restart = 1; performance.now() < end; restart++) {
      const nextMs = performance.now() + RESTART_EVERY_MS
      await dieAndReturn(lab, loads)
      const until = AbortSignal.any([
        lab.signal,
        AbortSignal.timeout(Math.max(0, Math.ceil(nextMs - performance.now()))),
      ])
      await Promise.all(loads.map((load) => runLoad(load, tally, { until, monitorEveryMs: MONITOR_EVERY_MS })))
      lab.signal.throwIfAborted()
      await Promise.all(loads.map(checkLoad))
      expect(tally.firstErrors).toEqual([])
      // The daemon is asked to let go, and answers when it can.
      await expect.poll(() => leftovers(lab), { timeout: 30_000 }).toEqual({ ...first, losses: restart })
      heaps.push(await heapBytes())
      const heapMb = ((heaps.at(-1) as number) / 2 ** 20).toFixed(2)
      log(`${restart} restarts, ${tally.calls} calls, ${tally.counts.channel} messages, heap ${heapMb} MB`)
    }
    const settled = heaps.slice(SETTLING)
    const slope = slopeOf(settled)
    log(`the heap grows by ${Math.round(slope)} bytes a restart, over ${settled.length} restarts`)
    expect(settled.length).toBeGreaterThanOrEqual(3)
    expect(slope).toBeLessThanOrEqual(HEAP_BYTES_PER_RESTART)
  }))

/** Kills the daemon under pending calls, starts it again, and has all sessions of all VMs work. */
async function dieAndReturn({ host, lab, signal }: LabVms, loads: Load[]): Promise<void> {
  const pending = loads.flatMap(({ qmp }) =>
    Array.from({ length: PENDING_PER_VM }, () => qmp.queryStatus({ timeoutMs: 60_000 })),
  )
  const outcomes = Promise.allSettled(pending)
  await host.client('calls')
  const lost = new Promise((resolve) => {
    const stop = host.onStateChange(({ to }) => {
      if (to !== 'reconnecting') return
      stop()
      resolve(undefined)
    })
  })
  process.kill((await daemonPid(lab)) as number, 'SIGKILL')
  for (const outcome of await outcomes) {
    if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ branch: 'connect', retryable: true })
  }
  await lost
  await startHost(lab, { signal })
  await Promise.all(
    loads.map(async (load) => {
      expect(await load.qmp.queryStatus({ timeoutMs: 60_000 })).toMatchObject({ running: true })
      await load.qga.ping({ timeoutMs: 60_000 })
      expect(load.channel.closed).toBe(true)
      load.channel = await openEcho(load.vm, signal)
      await echo(load.channel, '再见')
    }),
  )
}

/** What a connection that is gone could leave behind, while nothing is under way. */
function leftovers({ host }: LabVms) {
  const { registrations, handlers, roles } = host.stats()
  const control = roles.control as NonNullable<typeof roles.control>
  const { state, pending, inFlight, streams, eventHandlers, losses } = control
  const resources = process.getActiveResourcesInfo().filter((name) => name !== 'Timeout')
  return {
    registrations,
    handlers,
    state,
    pending,
    inFlight,
    streams,
    eventHandlers,
    losses,
    resources: resources.toSorted(),
  }
}

async function heapBytes(): Promise<number> {
  // What was just let go of is freed in steps.
  for (let round = 0; round < 3; round++) {
    collectGarbage()
    await sleep(50)
  }
  return process.memoryUsage().heapUsed
}

/** Slope of the straight line nearest to the values. */
function slopeOf(values: readonly number[]): number {
  const meanX = (values.length - 1) / 2
  const meanY = values.reduce((sum, value) => sum + value, 0) / values.length
  const over = values.reduce((sum, value, x) => sum + (x - meanX) * (value - meanY), 0)
  return over / values.reduce((sum, _, x) => sum + (x - meanX) ** 2, 0)
}
