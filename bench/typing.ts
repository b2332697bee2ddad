import { writeFileSync } from 'node:fs'
import { us } from '../framework/keys/index.ts'
import { EV_KEY, EvdevDecoder, parseInputDevices, SYN_DROPPED, EV_SYN } from '../framework/verify/index.ts'
import type { Vm } from '../framework/desktop/api.ts'
import type { Delivery } from '../framework/input/api.ts'
import { openBenchVm, type BenchVm } from './support/lab-vm.ts'
import type { BenchContext, BenchResult } from './result.ts'

const KEYS = 10_000
const SEED = 20_261_120
/** Every character of the US layout that is one key without Shift, but for Enter and Tab, which a shell acts on. */
const CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789 -=[]\\;'`,./"
const DEVICES = ['ps2', 'virtio'] as const
const RECORD_FILE = '/tmp/typing.evdev'

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
  const reader = await startCounter(vm, device)
  const delivery = await vm.keyboard.type(text)
  if (delivery.outcome === 'unverified') throw new Error(`typing was not observed: ${delivery.reason}`)
  await vm.guest.shell(`kill ${reader}`)
  const recorded = new EvdevDecoder().push(await vm.guest.file(RECORD_FILE).read())
  if (recorded.some((record) => record.type === EV_SYN && record.code === SYN_DROPPED)) {
    throw new Error('the counter in the guest missed events (SYN_DROPPED)')
  }
  return {
    delivery,
    pressed: recorded.filter((record) => record.type === EV_KEY && record.value === 1).map((record) => record.code),
  }
}

/** Process id of a reader that writes the keyboard's events to a file in the guest. */
async function startCounter({ guest }: Vm, device: string): Promise<number> {
  const { stdoutText } = await guest.shell('cat /proc/bus/input/devices')
  const keyboard = parseInputDevices(stdoutText).find((each) => each.kind === 'keyboard' && each.bus === device)
  if (!keyboard) throw new Error(`the guest has no ${device} keyboard`)
  const started = await guest.shell(`exec 3<${keyboard.path}; cat <&3 >${RECORD_FILE} 2>/dev/null & echo $!`)
  return Number(started.stdoutText)
}

/** Compares what was to be pressed with what was, key by key. */
function compare(text: string, pressed: readonly number[]): { lost: number; reordered: number } {
  const wanted = Array.from(text, (character) => us.stroke(character)?.key.evdev.code ?? 0)
  const missing = new Map<number, number>()
  for (const code of wanted) missing.set(code, (missing.get(code) ?? 0) + 1)
  for (const code of pressed) missing.set(code, (missing.get(code) ?? 0) - 1)
  const lost = [...missing.values()].reduce((sum, count) => sum + Math.max(0, count), 0)
  // With nothing lost, every place that holds another key than was sent there is a key out of order.
  const reordered = lost > 0 ? 0 : wanted.filter((code, index) => code !== pressed[index]).length
  return { lost, reordered }
}

function randomText(length: number, seed: number): string {
  const random = mulberry32(seed)
  return Array.from({ length }, () => CHARACTERS[Math.floor(random() * CHARACTERS.length)]).join('')
}

/** A small generator of random numbers in [0, 1) with a period of 2³². */
function mulberry32(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
