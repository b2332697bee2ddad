/** 50 VMs verified at once by one process: nothing is lost, and no verdict is wrong. */
import { expect, it } from 'vitest'
import { log, withLabVms } from '../../bench/support/lab-vms.ts'
import { verifyAtOnce } from '../../bench/support/verified-at-once.ts'

const VMS = Number(process.env['ATP_SOAK_VMS'] ?? 50)
const KEYS = 200

it(`${VMS} VMs are typed into and verified at once`, () =>
  withLabVms(VMS, async ({ vms }) => {
    const onReady = () => {
      log('all observers run')
      return () => log('all keys are typed')
    }
    const result = await verifyAtOnce(vms, { keys: KEYS, seed: Date.now(), onReady })
    const { keys, seconds, latenciesMs: _, ...counts } = result
    log(`${keys} keys in ${seconds.toFixed(0)} s: ${JSON.stringify(counts)}`)
    expect(counts).toEqual({
      deliveries: (VMS * KEYS) / 40,
      lost: 0,
      reordered: 0,
      falseAlarms: 0,
      falseGreens: 0,
      reasons: [],
    })
  }))
