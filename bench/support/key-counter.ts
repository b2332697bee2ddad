import type { Vm } from '../../framework/desktop/api.ts'
import { us } from '../../framework/keys/index.ts'
import { EV_KEY, EV_SYN, EvdevDecoder, parseInputDevices, SYN_DROPPED } from '../../framework/verify/index.ts'

/** Every character of the US layout that is one key without Shift, but for Enter and Tab, which a shell acts on. */
const CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789 -=[]\\;'`,./"
const RECORD_FILE = '/tmp/typing.evdev'

/**
 * Counts keys that are pressed in a guest: a reader of its evdev, independent of the one that paces typing, writes to a
 * file there. It goes before all others in the guest, since nobody waits for it. The returned function ends it, and fetches
 * the codes.
 */
export async function startCounter({ guest }: Vm, device: string): Promise<() => Promise<number[]>> {
  const { stdoutText } = await guest.shell('cat /proc/bus/input/devices')
  const keyboard = parseInputDevices(stdoutText).find((each) => each.kind === 'keyboard' && each.bus === device)
  if (!keyboard) throw new Error(`the guest has no ${device} keyboard`)
  const started = await guest.shell(
    `exec 3<${keyboard.path}; cat <&3 >${RECORD_FILE} 2>/dev/null & renice -n -20 -p $! >/dev/null; echo $!`,
  )
  return async () => {
    await guest.shell(`kill ${Number(started.stdoutText)}`)
    const recorded = new EvdevDecoder().push(await guest.file(RECORD_FILE).read())
    if (recorded.some((record) => record.type === EV_SYN && record.code === SYN_DROPPED)) {
      throw new Error('the counter in the guest missed events (SYN_DROPPED)')
    }
    return recorded.filter((record) => record.type === EV_KEY && record.value === 1).map((record) => record.code)
  }
}

/** Compares what was to be pressed with what was, key by key. */
export function compare(text: string, pressed: readonly number[]): { lost: number; reordered: number } {
  const wanted = Array.from(text, (character) => us.stroke(character)?.key.evdev.code ?? 0)
  const missing = new Map<number, number>()
  for (const code of wanted) missing.set(code, (missing.get(code) ?? 0) + 1)
  for (const code of pressed) missing.set(code, (missing.get(code) ?? 0) - 1)
  const lost = [...missing.values()].reduce((sum, count) => sum + Math.max(0, count), 0)
  // With nothing lost, every place that holds another key than was sent there is a key out of order.
  const reordered = lost > 0 ? 0 : wanted.filter((code, index) => code !== pressed[index]).length
  return { lost, reordered }
}

export function randomText(length: number, seed: number): string {
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
