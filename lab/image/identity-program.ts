import {
  BASE_ADDRESS,
  forever,
  HEADERS_BYTES,
  instructions,
  linuxProgram,
  skip,
  systemCall,
  u32,
} from '../../framework/wire/linux-program.ts'

/** The virtio-serial port on which the guest's identity program waits. */
export const IDENTITY_PORT = 'atp.identity.0'

/**
 * What the program is told, little-endian: eight bytes that its answer repeats, `struct timespec`, the length of the
 * host name (with 0 only the clock is set), the name, and the texts of `/etc/machine-id` and of the machine's UUID.
 */
export const IDENTITY_RECORD = {
  nonce: 0,
  seconds: 8,
  nanoseconds: 16,
  nameLength: 24,
  name: 32,
  machineId: 96,
  machineUuid: 129,
} as const
/** Length of a host name that Linux takes, in bytes. */
export const HOST_NAME_BYTES = 64
const MACHINE_ID_BYTES = 33
const MACHINE_UUID_BYTES = 37
export const IDENTITY_RECORD_BYTES = IDENTITY_RECORD.machineUuid + MACHINE_UUID_BYTES
/**
 * What the guest reads as its DMI UUID. The firmware wrote the real one into the template's memory, so that all clones
 * have the same; this file lies over it.
 */
export const MACHINE_UUID_FILE = '/etc/machine-uuid'
/** Its answer: a signed status, negative after a failure (then it is Linux's error number), and the nonce. */
export const IDENTITY_ANSWER = { status: 0, nonce: 8 } as const
export const IDENTITY_ANSWER_BYTES = 16

/** The answer's status, followed by the record, so that the answer is the memory from here on. */
const ANSWER_AT = BASE_ADDRESS + 0x1000
const RECORD_AT = ANSWER_AT + IDENTITY_ANSWER.nonce
const IN_RECORD = (field: keyof typeof IDENTITY_RECORD) => RECORD_AT + IDENTITY_RECORD[field]

const O_RDWR = 2
const O_WRONLY_CREAT_TRUNC = 0x241

/** A system call whose failure becomes the status, which is kept in rbx. */
const checked = (...what: Parameters<typeof systemCall>) =>
  instructions(
    systemCall(...what),
    [0x48, 0x85, 0xc0], // test rax, rax
    [0x48, 0x0f, 0x48, 0xd8], // cmovs rbx, rax
  )
const PORT_TO_EDI = [0x89, 0xef] // mov edi, ebp

/**
 * An x86-64 ELF program that waits until somebody opens its port on the host, and gives the guest what a record says:
 * time, host name, machine id, UUID. Then it waits again. It is part of a snapshot while it waits, so that a clone need not
 * start a process to become somebody: in an emulated guest all code of a process must be translated first, and these
 * are a few instructions.
 *
 * It begins with its answer to the record before: a write to a virtio-serial port sleeps until the host's side is
 * open, while a read from one that is not returns at once (Linux, `drivers/char/virtio_console.c`).
 */
export function identityProgram(): Buffer {
  const paths = [`/dev/virtio-ports/${IDENTITY_PORT}`, '/etc/machine-id', MACHINE_UUID_FILE]
  const strings = paths.map((path) => `${path}\0`)
  const [portPath = 0, machineIdPath = 0, machineUuidPath = 0] = strings.map(
    (_, index) => BASE_ADDRESS + HEADERS_BYTES + strings.slice(0, index).join('').length,
  )

  const write = (path: number, field: keyof typeof IDENTITY_RECORD, length: number) =>
    instructions(
      checked('open', path, O_WRONLY_CREAT_TRUNC, 0o644),
      skip(
        'ifNegative',
        instructions(
          [0x89, 0xc7], // mov edi, eax
          checked('write', undefined, IN_RECORD(field), length),
          checked('close'),
        ),
      ),
    )
  const identity = instructions(
    checked('sethostname', IN_RECORD('name')), // the length is in esi
    write(machineIdPath, 'machineId', MACHINE_ID_BYTES),
    write(machineUuidPath, 'machineUuid', MACHINE_UUID_BYTES),
  )
  const apply = instructions(
    checked('clock_settime', 0, IN_RECORD('seconds')),
    [0x8b, 0x34, 0x25, ...u32(IN_RECORD('nameLength'))], // mov esi, [nameLength]
    [0x85, 0xf6], // test esi, esi
    skip('ifZero', identity),
  )
  const round = instructions(
    PORT_TO_EDI,
    systemCall('write', undefined, ANSWER_AT, IDENTITY_ANSWER_BYTES),
    [0x85, 0xc0], // test eax, eax
    skip('ifNotNegative', systemCall('exit', 1)), // without its port; init starts it again
    PORT_TO_EDI,
    systemCall('read', undefined, RECORD_AT, IDENTITY_RECORD_BYTES),
    [0x48, 0x2d, ...u32(IDENTITY_RECORD_BYTES)], // sub rax, length of a record
    [0x48, 0x89, 0xc3], // mov rbx, rax: negative after half a record, or none since the host is gone
    skip('ifNotZero', apply),
    [0x48, 0x89, 0x1c, 0x25, ...u32(ANSWER_AT)], // mov [status], rbx
  )
  const code = instructions(
    systemCall('open', portPath, O_RDWR),
    [0x89, 0xc5], // mov ebp, eax
    forever(round),
  )
  return linuxProgram(code, ANSWER_AT + 0x1000 - BASE_ADDRESS, Buffer.from(strings.join('')))
}
