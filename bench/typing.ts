import { writeFileSync } from 'node:fs'
import type { Delivery } from '../framework/input/api.ts'
import { openBenchVm, type BenchVm } from './support/lab-vm.ts'
import { compare, randomText, startCounter } from './support/key-counter.ts'
import type { BenchContext, BenchResult } from './result.ts'

const KEYS = 10_000
const SEED = 20_261_120
const DEVICES = ['ps2', 'virtio'] as const

/**
 * Types 10,000 seeded random keys into a PS/2 and a virtio keyboard. What arrived is counted by a second reader
 * of the guest's evdev, independent of the one that paces the typing: it writes to a file in the guest, which is
 * fetched and decoded afterwards.
 *
 * `sent` and `counted` are per keyboard (`counted`: the smaller one); `lost` and `reordered` add both up.
 */
export async function run(context: BenchContext): Promise<BenchResult> {
  const text = randomText(KEYS, SEED)
  const metrics: Record<string, number> = { sent: KEYS, counted: KEYS, lost: 0, reordered: 0 }
  const samples: Record<string, unknown> = { seed: SEED }
  const qemuPids: number[] = []
  let versions: Record<string, string> = {}
  for (const device of DEVICES) {
    const machine = await openBenchVm(device, (line) => context.log(line))
    try {
      const { delivery, pressed } = await typeAndCount(machine, device, text)
      const { lost, reordered } = compare(text, pressed)
      metrics[`${device}_keys_per_s`] = (KEYS / delivery.durationMs) * 1000
      metrics['counted'] = Math.min(metrics['counted'] as number, pressed.length)
      metrics['lost'] = (metrics['lost'] as number) + lost
      metrics['reordered'] = (metrics['reordered'] as number) + reordered
      if (delivery.latency) {
        metrics[`${device}_latency_p50_ms`] = delivery.latency.p50Ms
        metrics[`${device}_latency_p95_ms`] = delivery.latency.p95Ms
        metrics[`${device}_latency_bound_ms`] = delivery.latency.boundMs
      }
      samples[device] = { delivery, pressed }
      qemuPids.push(machine.qemuPid)
      versions = machine.versions
      context.log(`${device}: ${Math.round(metrics[`${device}_keys_per_s`] as number)} keys/s, ${lost} lost`)
    } finally {
      await machine.close()
    }
  }
  writeFileSync(context.samplesFile, JSON.stringify(samples))
  return { name: 'typing', metrics, ratios: {}, n: KEYS, versions, qemuPids, samplesFile: context.samplesFile }
}

async function typeAndCount(
  { vm }: BenchVm,
  device: (typeof DEVICES)[number],
  text: string,
): Promise<{ delivery: Delivery; pressed: number[] }> {
  // The first input starts the observer; that is no part of typing.
  await vm.keyboard.press('shift', { verify: 'require' })
  const pressed = await startCounter(vm, device)
  const delivery = await vm.keyboard.type(text)
  if (delivery.outcome === 'unverified') throw new Error(`typing was not observed: ${delivery.reason}`)
  return { delivery, pressed: await pressed() }
}
