import type { Vm } from '../../framework/desktop/api.ts'

const BASE = 0x400000
const HEADERS_BYTES = 64 + 56
const ADJTIMEX = 159
const EXIT = 60
/** `struct timex` on x86-64: its size, and where the fields stand that are used here. */
const TIMEX = { bytes: 208, modes: 0, tick: 88, seconds: 72, nanoseconds: 80 } as const
const ADJ_SETOFFSET_AND_NANO = 0x2100
const ADJ_TICK = 0x4000
let programs = 0

/** Sets the guest's clock as it was prepared to. */
export type SetClock = () => Promise<void>

/** Prepares to put the guest's clock forward or back at once (`adjtimex(2)`, ADJ_SETOFFSET). */
export function clockStep(vm: Vm, byNs: bigint): Promise<SetClock> {
  const timex = Buffer.alloc(TIMEX.bytes)
  timex.writeUInt32LE(ADJ_SETOFFSET_AND_NANO, TIMEX.modes)
  const nanoseconds = ((byNs % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n
  timex.writeBigInt64LE((byNs - nanoseconds) / 1_000_000_000n, TIMEX.seconds)
  timex.writeBigInt64LE(nanoseconds, TIMEX.nanoseconds)
  return prepare(vm, timex)
}

/** Prepares to let the guest's clock run faster or slower (ADJ_TICK): microseconds a tick of 10,000. */
export function clockSlew(vm: Vm, byPerTick: number): Promise<SetClock> {
  const timex = Buffer.alloc(TIMEX.bytes)
  timex.writeUInt32LE(ADJ_TICK, TIMEX.modes)
  timex.writeBigInt64LE(BigInt(10_000 + byPerTick), TIMEX.tick)
  return prepare(vm, timex)
}

async function prepare(vm: Vm, timex: Buffer): Promise<SetClock> {
  const path = `/tmp/set-clock-${++programs}`
  await vm.guest.file(path).write(program(timex))
  await vm.guest.shell(`chmod 700 ${path}`)
  return async () => {
    const { exitCode } = await vm.guest.exec(path)
    if (exitCode !== 0) throw new Error(`the guest's clock was not set: ${exitCode}`)
  }
}

/** A static x86-64 program that makes one call of adjtimex; its exit code is 0 where that worked. */
function program(timex: Buffer): Buffer {
  const u32 = (value: number) => [value, value >> 8, value >> 16, value >> 24].map((byte) => byte & 0xff)
  const codeBytes = 24
  const code = Buffer.concat(
    [
      [0xbf, ...u32(BASE + HEADERS_BYTES + codeBytes)], // mov edi, timex
      [0xb8, ...u32(ADJTIMEX), 0x0f, 0x05], // mov eax, adjtimex; syscall
      [0x89, 0xc7, 0xc1, 0xef, 0x1f], // mov edi, eax; shr edi, 31: 1 after an error
      [0xb8, ...u32(EXIT), 0x0f, 0x05], // mov eax, exit; syscall
    ].map((instruction) => Uint8Array.from(instruction)),
  )
  if (code.length !== codeBytes) throw new Error(`${code.length} bytes of code`)
  const headers = Buffer.alloc(HEADERS_BYTES)
  headers.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]) // ELF, 64 bits, little-endian, version 1
  for (const [at, value] of Object.entries({ 16: 2, 18: 62, 52: 64, 54: 56, 56: 1 })) {
    headers.writeUInt16LE(value, Number(at))
  }
  const sizeBytes = HEADERS_BYTES + code.length + timex.length
  const words = {
    20: 1,
    24: BASE + HEADERS_BYTES,
    32: 64,
    64: 1,
    68: 7,
    80: BASE,
    88: BASE,
    96: sizeBytes,
    104: sizeBytes,
    112: 0x1000,
  }
  for (const [at, value] of Object.entries(words)) headers.writeUInt32LE(value, Number(at))
  return Buffer.concat([headers, code, timex])
}
