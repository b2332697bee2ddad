import type { DesktopVm } from '../../framework/desktop/index.ts'
import type { Delivery } from '../../framework/input/api.ts'
import { compare, randomText, startCounter } from './key-counter.ts'

const TEXT_KEYS = 40

/** What came of typing into many VMs at once, each key verified and counted by somebody else, too. */
export interface VerifiedAtOnce {
  /** Texts, and keys in all of them. */
  deliveries: number
  keys: number
  seconds: number
  /** By the independent counter. */
  lost: number
  reordered: number
  /** Texts whose verdict was not `delivered` in a VM where the counter missed nothing; and the other way round. */
  falseAlarms: number
  falseGreens: number
  /** Why texts were not `delivered`. */
  reasons: string[]
  latenciesMs: number[]
}

/** Readies a VM: its observer and its counter run afterwards. */
async function ready(vm: DesktopVm): Promise<{ vm: DesktopVm; pressed: () => Promise<number[]> }> {
  await vm.keyboard.press('shift', { verify: 'require' })
  return { vm, pressed: await startCounter(vm, 'ps2') }
}

/**
 * Types random texts of 40 keys into all VMs at the same time.
 *
 * @param onReady before the first key; what it returns is called after the last one.
 */
export async function verifyAtOnce(
  vms: readonly DesktopVm[],
  { keys, seed, onReady }: { keys: number; seed: number; onReady(): () => void },
): Promise<VerifiedAtOnce> {
  const counted = await Promise.all(vms.map(ready))
  const texts = vms.map((_, index) => randomText(keys, seed + index))
  const onTyped = onReady()
  const startedMs = performance.now()
  const typed = await Promise.all(counted.map(({ vm }, index) => typeAll(vm, texts[index] as string)))
  const seconds = (performance.now() - startedMs) / 1000
  onTyped()
  const result: VerifiedAtOnce = {
    deliveries: typed.flat().length,
    keys: keys * vms.length,
    seconds,
    lost: 0,
    reordered: 0,
    falseAlarms: 0,
    falseGreens: 0,
    reasons: typed.flat().flatMap((delivery) => reasonOf(delivery) ?? []),
    latenciesMs: typed.flat().flatMap(({ latenciesMs }) => latenciesMs),
  }
  for (const [index, { pressed }] of counted.entries()) {
    const { lost, reordered } = compare(texts[index] as string, await pressed())
    const red = (typed[index] as Delivery[]).filter(({ outcome }) => outcome !== 'delivered').length
    result.lost += lost
    result.reordered += reordered
    if (lost + reordered === 0) result.falseAlarms += red
    else if (red === 0) result.falseGreens++
  }
  return result
}

async function typeAll(vm: DesktopVm, text: string): Promise<Delivery[]> {
  const deliveries: Delivery[] = []
  for (let at = 0; at < text.length; at += TEXT_KEYS) {
    deliveries.push(await vm.keyboard.type(text.slice(at, at + TEXT_KEYS)))
  }
  return deliveries
}

function reasonOf({ vm, outcome, reason, lost, duplicated, reordered, differences }: Delivery): string | undefined {
  if (outcome === 'delivered') return undefined
  return `${vm}: ${reason ?? `${lost} lost, ${duplicated} too many, ${reordered} out of order: ${differences[0]}`}`
}
