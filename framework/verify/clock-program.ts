import { BASE_ADDRESS, forever, instructions, linuxProgram, skip, systemCall, u32 } from '../wire/linux-program.ts'

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

/** A page of zeros behind the file: the answer, what a timer says, and when the timer would fire. */
const ANSWER_AT = BASE_ADDRESS + 0x1000
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

const TEST_EAX = [0x85, 0xc0]
/** Ends with the error number of the call before it, if that failed. */
const orExit = instructions(
  TEST_EAX,
  skip(
    'ifNotNegative',
    instructions(
      [0xf7, 0xd8], // neg eax
      [0x89, 0xc7], // mov edi, eax
      systemCall('exit'),
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
  const start = instructions(
    [0x48, 0x8b, 0x7c, 0x24, 0x10], // mov rdi, [rsp + 16]: the first argument
    systemCall('open', undefined, O_RDWR),
    [0x89, 0xc5], // mov ebp, eax
    orExit,
    systemCall('timerfd_create', CLOCK_REALTIME, TFD_NONBLOCK_CLOEXEC),
    [0x41, 0x89, 0xc4], // mov r12d, eax
    orExit,
    [0xb8, ...u32(ALARM_SECONDS)], // mov eax, seconds
    [0x48, 0x89, 0x04, 0x25, ...u32(ALARM_SECONDS_AT)], // mov [alarm], rax
    TIMER_TO_EDI,
    [0x45, 0x31, 0xd2], // xor r10d, r10d: the fourth argument
    systemCall('timerfd_settime', undefined, TFD_TIMER_ABSTIME_AND_CANCEL_ON_SET, ALARM_AT),
    orExit,
    systemCall('fork'),
    orExit,
    TEST_EAX,
    skip(
      'ifZero',
      instructions(
        [0x48, 0x8b, 0x7c, 0x24, 0x08], // mov rdi, [rsp + 8]: the file
        systemCall('unlink'),
        systemCall('exit', 0),
      ),
    ),
  )
  const countSetting = [0x48, 0xff, 0x04, 0x25, ...u32(SETTINGS_AT)] // inc qword [settings]
  const round = instructions(
    PORT_TO_EDI,
    systemCall('read', undefined, ANSWER_AT, CLOCK_QUESTION_BYTES),
    [0x83, 0xe8, CLOCK_QUESTION_BYTES], // sub eax, 8
    skip('ifZero', systemCall('exit', 0)), // the host has gone
    systemCall('clock_gettime', CLOCK_REALTIME, ANSWER_AT + CLOCK_ANSWER.seconds),
    // After the reading, so that no setting before it is missed.
    TIMER_TO_EDI,
    systemCall('read', undefined, TICKS_AT, 8),
    [0x83, 0xc0, ECANCELED], // add eax, ECANCELED
    skip('ifNotZero', countSetting),
    PORT_TO_EDI,
    systemCall('write', undefined, ANSWER_AT, CLOCK_ANSWER_BYTES),
    orExit,
  )
  const program = linuxProgram(instructions(start, forever(round)), MEMORY_BYTES)
  program.write('\nexit\n', 9, 'latin1') // unused bytes of the identification
  return program
}
