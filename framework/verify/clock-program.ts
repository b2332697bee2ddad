/** What the program is asked: eight bytes that its answer repeats. */
export const CLOCK_QUESTION_BYTES = 8
/**
 * Its answer, little-endian: the eight bytes, `struct timespec` of CLOCK_REALTIME, and how often that clock was set since
 * the program began.
 */
export const CLOCK_ANSWER = { nonce: 0, seconds: 8, nanoseconds: 16, settings: 24 } as const
export const CLOCK_ANSWER_BYTES = 32
/** Its exit code when another process holds the port: Linux's EBUSY. */
export const PORT_BUSY = 16

const BASE = 0x400000
const HEADERS_BYTES = 64 + 56
/** A page of zeros behind the file: the answer, what a timer says, and when the timer would fire. */
const ANSWER_AT = BASE + 0x1000
const SETTINGS_AT = ANSWER_AT + CLOCK_ANSWER.settings
const TICKS_AT = ANSWER_AT + 0x40
const ALARM_AT = ANSWER_AT + 0x80
const ALARM_SECONDS_AT = ALARM_AT + 16
const MEMORY_BYTES = 0x2000

const O_RDWR = 2
const CLOCK_REALTIME = 0
const TFD_NONBLOCK_CLOEXEC = 0x80800
const TFD_TIMER_ABSTIME_AND_CANCEL_ON_SET = 3
const ECANCELED = 125
/** Never: the year 2106. */
const ALARM_SECONDS = 0xffffffff

/** System calls of Linux on x86-64 (`arch/x86/entry/syscalls/syscall_64.tbl`). */
const SYS = {
  read: 0,
  write: 1,
  open: 2,
  fork: 57,
  exit: 60,
  unlink: 87,
  clock_gettime: 228,
  timerfd_create: 283,
  timerfd_settime: 286,
} as const

const u32 = (value: number) => [value, value >> 8, value >> 16, value >> 24].map((byte) => byte & 0xff)
const bytes = (...instructions: readonly (readonly number[])[]) => instructions.flat()
/** mov edi | esi | edx, value */
const ARGUMENT = [0xbf, 0xbe, 0xba] as const
/** Arguments that are undefined stay as they are in their registers. */
const call = (name: keyof typeof SYS, ...values: (number | undefined)[]) =>
  bytes(
    values.flatMap((value, index) => (value === undefined ? [] : [ARGUMENT[index] as number, ...u32(value)])),
    [0xb8, ...u32(SYS[name])], // mov eax, number
    [0x0f, 0x05], // syscall
  )
const JUMP = { unlessNegative: 0x89, ifZero: 0x84, unlessZero: 0x85 } as const
const skip = (when: keyof typeof JUMP, code: readonly number[]) => [0x0f, JUMP[when], ...u32(code.length), ...code]
const TEST_EAX = [0x85, 0xc0]
/** Ends with the error number of the call before it, if that failed. */
const orExit = bytes(
  TEST_EAX,
  skip(
    'unlessNegative',
    bytes(
      [0xf7, 0xd8], // neg eax
      [0x89, 0xc7], // mov edi, eax
      call('exit'),
    ),
  ),
)
const PORT_TO_EDI = [0x89, 0xef] // mov edi, ebp
const TIMER_TO_EDI = [0x44, 0x89, 0xe7] // mov edi, r12d

/**
 * An x86-64 ELF program that answers on a virtio-serial port what the guest's clock shows. Called with the port's path it
 * removes its own file, and returns once a process of its own waits at the port; that one ends when the host's side is
 * closed. Before it waits it fails with Linux's error number as the exit code, and leaves its file.
 *
 * A timer that the kernel cancels whenever somebody sets the clock (`timerfd_create(2)`) tells of settings that were
 * undone before anybody looked.
 *
 * A shell that takes the file for a script, for want of a kernel that runs it, meets `exit` in its first lines.
 */
export function clockProgram(): Buffer {
  const start = bytes(
    [0x48, 0x8b, 0x7c, 0x24, 0x10], // mov rdi, [rsp + 16]: the first argument
    call('open', undefined, O_RDWR),
    [0x89, 0xc5], // mov ebp, eax
    orExit,
    call('timerfd_create', CLOCK_REALTIME, TFD_NONBLOCK_CLOEXEC),
    [0x41, 0x89, 0xc4], // mov r12d, eax
    orExit,
    [0xb8, ...u32(ALARM_SECONDS)], // mov eax, seconds
    [0x48, 0x89, 0x04, 0x25, ...u32(ALARM_SECONDS_AT)], // mov [alarm], rax
    TIMER_TO_EDI,
    [0x45, 0x31, 0xd2], // xor r10d, r10d: the fourth argument
    call('timerfd_settime', undefined, TFD_TIMER_ABSTIME_AND_CANCEL_ON_SET, ALARM_AT),
    orExit,
    call('fork'),
    orExit,
    TEST_EAX,
    skip(
      'ifZero',
      bytes(
        [0x48, 0x8b, 0x7c, 0x24, 0x08], // mov rdi, [rsp + 8]: the file
        call('unlink'),
        call('exit', 0),
      ),
    ),
  )
  const countSetting = [0x48, 0xff, 0x04, 0x25, ...u32(SETTINGS_AT)] // inc qword [settings]
  const round = bytes(
    PORT_TO_EDI,
    call('read', undefined, ANSWER_AT, CLOCK_QUESTION_BYTES),
    [0x83, 0xe8, CLOCK_QUESTION_BYTES], // sub eax, 8
    skip('ifZero', call('exit', 0)), // the host has gone
    call('clock_gettime', CLOCK_REALTIME, ANSWER_AT + CLOCK_ANSWER.seconds),
    // After the reading, so that no setting before it is missed.
    TIMER_TO_EDI,
    call('read', undefined, TICKS_AT, 8),
    [0x83, 0xc0, ECANCELED], // add eax, ECANCELED
    skip('unlessZero', countSetting),
    PORT_TO_EDI,
    call('write', undefined, ANSWER_AT, CLOCK_ANSWER_BYTES),
    orExit,
  )
  const JUMP_BYTES = 5
  const code = bytes(start, round, [0xe9, ...u32(-(round.length + JUMP_BYTES))]) // jmp round
  return Buffer.concat([elfHeaders(HEADERS_BYTES + code.length), Buffer.from(code)])
}

/** ELF header and one program header: the whole file, and zeros behind it, in one segment (`elf(5)`). */
function elfHeaders(fileBytes: number): Buffer {
  const headers = Buffer.alloc(HEADERS_BYTES)
  headers.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]) // "\x7fELF", 64 bits, little-endian, version 1
  headers.write('\nexit\n', 9, 'latin1') // unused bytes of the identification
  const u16At = { 16: 2, 18: 62, 52: 64, 54: 56, 56: 1 } // executable, x86-64, sizes of both headers, one of these
  for (const [at, value] of Object.entries(u16At)) headers.writeUInt16LE(value, Number(at))
  headers.writeUInt32LE(1, 20) // version
  headers.writeUInt32LE(BASE + HEADERS_BYTES, 24) // entry
  headers.writeUInt32LE(64, 32) // where the program header is
  headers.writeUInt32LE(1, 64) // PT_LOAD
  headers.writeUInt32LE(7, 68) // readable, writable, executable
  headers.writeUInt32LE(BASE, 80)
  headers.writeUInt32LE(BASE, 88)
  headers.writeUInt32LE(fileBytes, 96)
  headers.writeUInt32LE(MEMORY_BYTES, 104) // size in memory
  headers.writeUInt32LE(0x1000, 112)
  return headers
}
