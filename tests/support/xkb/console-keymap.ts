import type { XkbAnswer } from './xkb.ts'

const MAGIC = Buffer.from('bkeymap')
const MAPS = 256
const KEYS = 128
/** Modifiers of a console's key map: Shift 1, AltGr 2, both 3. */
const LEVEL_MAPS = [0, 1, 2, 3]
/** `K_HOLE`: the key does nothing. */
const HOLE = 0x0200
/** `K(KT_DEAD, n)` by combining mark. */
const DEAD = new Map([0x300, 0x301, 0x302, 0x303, 0x308, 0x327].map((mark, index) => [mark, 0x0400 + index]))
const UNICODE = 0xf000

/**
 * A key map for busybox's `loadkmap`: that of the console, as `dumpkmap` wrote it, with the printing keys of a layout.
 * Format: "bkeymap", a flag for each of 256 maps, and 128 little-endian `KDSKBENT` values for each map that is there.
 */
export function consoleKeymap(dumped: Uint8Array, { keys }: Pick<XkbAnswer, 'keys'>): Buffer {
  const source = Buffer.from(dumped)
  if (!source.subarray(0, MAGIC.length).equals(MAGIC)) throw new Error('not a key map of dumpkmap')
  const flags = source.subarray(MAGIC.length, MAGIC.length + MAPS)
  const maps = new Map<number, Buffer>()
  let at = MAGIC.length + MAPS
  for (const [map, flag] of flags.entries()) {
    if (flag !== 1) continue
    maps.set(map, Buffer.from(source.subarray(at, at + 2 * KEYS)))
    at += 2 * KEYS
  }
  const altGr = (maps.get(0) as Buffer).readUInt16LE(2 * 100)
  for (const map of LEVEL_MAPS) {
    const table = maps.get(map) ?? Buffer.from(maps.get(0) as Buffer)
    for (const code of new Set(keys.map(([key]) => key))) table.writeUInt16LE(HOLE, 2 * code)
    table.writeUInt16LE(altGr, 2 * 100)
    maps.set(map, table)
  }
  for (const [code, level, codePoint] of keys) {
    const value = DEAD.get(codePoint) ?? (codePoint < 0x80 ? codePoint : codePoint ^ UNICODE)
    maps.get(LEVEL_MAPS[level] as number)?.writeUInt16LE(value, 2 * code)
  }
  const present = Buffer.alloc(MAPS)
  for (const map of maps.keys()) present[map] = 1
  const tables = [...maps].toSorted(([left], [right]) => left - right).map(([, table]) => table)
  return Buffer.concat([MAGIC, present, ...tables])
}
