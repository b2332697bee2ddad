/**
 * Writes small ELF programs for Linux on x86-64 guests: instructions as bytes, and the headers before them. Everything of
 * such a program, code and memory, is one segment at {@link BASE_ADDRESS}, and starts at a fixed place in it.
 */

/** Where the file begins in memory; {@link HEADERS_BYTES} later comes what the caller wrote. */
export const BASE_ADDRESS = 0x400000
export const HEADERS_BYTES = 64 + 56

/** System calls of Linux on x86-64 (`arch/x86/entry/syscalls/syscall_64.tbl`). */
const SYSTEM_CALLS = {
  read: 0,
  write: 1,
  open: 2,
  close: 3,
  fork: 57,
  exit: 60,
  unlink: 87,
  sethostname: 170,
  clock_settime: 227,
  clock_gettime: 228,
  timerfd_create: 283,
  timerfd_settime: 286,
} as const

/** mov edi | esi | edx, value */
const ARGUMENTS = [0xbf, 0xbe, 0xba] as const
/** Two-byte conditional jumps, near, after `0f`. */
const JUMPS = { ifZero: 0x84, ifNotZero: 0x85, ifNegative: 0x88, ifNotNegative: 0x89 } as const
const BACK_BYTES = 5

export function u32(value: number): number[] {
  return [value, value >> 8, value >> 16, value >> 24].map((byte) => byte & 0xff)
}

/** Instructions one after the other. */
export function instructions(...parts: readonly (readonly number[])[]): number[] {
  return parts.flat()
}

/** A system call; its result is in rax. Arguments that are undefined stay as they are in edi, esi and edx. */
export function systemCall(name: keyof typeof SYSTEM_CALLS, ...values: (number | undefined)[]): number[] {
  return instructions(
    values.flatMap((value, index) => (value === undefined ? [] : [ARGUMENTS[index] as number, ...u32(value)])),
    [0xb8, ...u32(SYSTEM_CALLS[name])], // mov eax, number
    [0x0f, 0x05], // syscall
  )
}

/** The code, jumped over when the last comparison came out like this. */
export function skip(when: keyof typeof JUMPS, code: readonly number[]): number[] {
  return [0x0f, JUMPS[when], ...u32(code.length), ...code]
}

/** The code, for ever. */
export function forever(code: readonly number[]): number[] {
  return [...code, 0xe9, ...u32(-(code.length + BACK_BYTES))] // jmp to its beginning
}

/**
 * The program's file (`elf(5)`).
 *
 * @param data stands before the code.
 * @param memoryBytes of the segment; what the file does not fill is zeros.
 */
export function linuxProgram(
  code: readonly number[],
  memoryBytes: number,
  data: Uint8Array = new Uint8Array(),
): Buffer {
  const entry = HEADERS_BYTES + data.length
  const headers = Buffer.alloc(HEADERS_BYTES)
  headers.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]) // "\x7fELF", 64 bits, little-endian, version 1
  const u16At = { 16: 2, 18: 62, 52: 64, 54: 56, 56: 1 } // executable, x86-64, sizes of both headers, one of these
  for (const [at, value] of Object.entries(u16At)) headers.writeUInt16LE(value, Number(at))
  headers.writeUInt32LE(1, 20) // version
  headers.writeUInt32LE(BASE_ADDRESS + entry, 24)
  headers.writeUInt32LE(64, 32) // where the program header is
  headers.writeUInt32LE(1, 64) // PT_LOAD
  headers.writeUInt32LE(7, 68) // readable, writable, executable
  headers.writeUInt32LE(BASE_ADDRESS, 80)
  headers.writeUInt32LE(BASE_ADDRESS, 88)
  headers.writeUInt32LE(entry + code.length, 96)
  headers.writeUInt32LE(memoryBytes, 104)
  headers.writeUInt32LE(0x1000, 112)
  return Buffer.concat([headers, data, Buffer.from(code)])
}
