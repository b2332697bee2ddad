import { writeFileSync } from 'node:fs'
import type { Delivery } from '../framework/input/api.ts'
import { openBenchVm, type BenchVm } from './support/lab-vm.ts'
import { compare, randomText, startCounter } from './support/key-counter.ts'
import type { BenchContext, BenchResult } from './result.ts'

const SEED = 20_261_120
/** Keys typed into each keyboard: into a USB keyboard more than a minute's worth. */
const KEYS = { ps2: 20_000, virtio: 20_000, usb: 3800 } as const
/** A guest polls a USB keyboard every 8 ms and takes an event a poll: two for a key. */
const USB_LIMIT_PER_S = 1000 / 8 / 2

type Device = keyof typeof KEYS

/**
 * Types seeded random keys into a PS/2, a virtio and a USB keyboard, verified by the framework's observer. What arrived
 * is counted by a second reader of the guest's evdev, independent of the one that paces the typing: it writes to a file
 * in the guest, which is fetched and decoded afterwards.
 *
 * `lost` and `reordered` add up what the counter found on all keyboards.
 */
export async function run(context: BenchContext): Promise<BenchResult> {
  const metrics: Record<string, number> = { lost: 0, reordered: 0 }
  const samples: Record<string, unknown> = { seed: SEED }
  const qemuPids: number[] = []
  const failures: string[] = []
  let versions: Record<string, string> = {}
  for (const [device, keys] of Object.entries(KEYS) as [Device, number][]) {
    const text = randomText(keys, SEED)
    const machine = await openBenchVm(device, (line) => context.log(line))
    try {
      const { delivery, pressed } = await typeAndCount(machine, device, text, (line) => context.log(line))
      const { lost, reordered } = compare(text, pressed)
      const perSecond = (keys / delivery.durationMs) * 1000
      metrics[`${device}_keys_per_s`] = perSecond
      metrics[`${device}_sent`] = keys
      metrics[`${device}_counted`] = pressed.length
      if (device === 'usb') metrics['usb_share_of_limit'] = perSecond / USB_LIMIT_PER_S
      metrics['lost'] = (metrics['lost'] as number) + lost
      metrics['reordered'] = (metrics['reordered'] as number) + reordered
      if (delivery.outcome !== 'delivered') failures.push(`${device}: ${delivery.outcome}: ${delivery.differences[0]}`)
      if (delivery.latency) {
        metrics[`${device}_latency_p50_ms`] = delivery.latency.p50Ms
        metrics[`${device}_latency_p95_ms`] = delivery.latency.p95Ms
        metrics[`${device}_latency_bound_ms`] = delivery.latency.boundMs
      }
      samples[device] = { delivery, pressed }
      qemuPids.push(machine.qemuPid)
      versions = machine.versions
      context.log(`${device}: ${Math.round(perSecond)} keys/s, ${lost} lost`)
    } finally {
      await machine.close()
    }
  }
  writeFileSync(context.samplesFile, JSON.stringify(samples))
  const n = Object.values(KEYS).reduce((sum, keys) => sum + keys, 0)
  return { name: 'typing', metrics, ratios: {}, n, versions, qemuPids, samplesFile: context.samplesFile, failures }
}

async function typeAndCount(
  { vm }: BenchVm,
  device: Device,
  text: string,
  log: (text: string) => void,
): Promise<{ delivery: Delivery; pressed: number[] }> {
  // The first input starts the observer; that is no part of typing.
  await vm.keyboard.press('shift', { verify: 'require' })
  const pressed = await startCounter(vm, device)
  const onProgress = (keys: number, of: number) => {
    if (Math.floor((keys / of) * 10) !== Math.floor((reported / of) * 10)) log(`${device}: ${keys} of ${of} keys`)
    reported = keys
  }
  let reported = 0
  const delivery = await vm.keyboard.type(text, { onProgress })
  if (delivery.outcome === 'unverified') throw new Error(`typing was not observed: ${delivery.reason}`)
  return { delivery, pressed: await pressed() }
}
