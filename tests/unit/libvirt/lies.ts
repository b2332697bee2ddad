import { PROGRAM, REMOTE, STATUS, TYPE, VERSION } from '../../../framework/protocols/libvirt/protocol-numbers.ts'

/** A frame with anything in its header. */
export function frame(
  fields: Partial<Record<'length' | 'program' | 'version' | 'procedure' | 'type' | 'serial' | 'status', number>>,
  body = Buffer.alloc(0),
): Buffer {
  const header = Buffer.alloc(28)
  header.writeUInt32BE(fields.length ?? 28 + body.length, 0)
  header.writeUInt32BE(fields.program ?? PROGRAM.REMOTE, 4)
  header.writeUInt32BE(fields.version ?? VERSION, 8)
  header.writeInt32BE(fields.procedure ?? REMOTE.CONNECT_GET_HOSTNAME, 12)
  header.writeUInt32BE(fields.type ?? TYPE.REPLY, 16)
  header.writeUInt32BE(fields.serial ?? 0, 20)
  header.writeUInt32BE(fields.status ?? STATUS.OK, 24)
  return Buffer.concat([header, body])
}

export const words = (...values: number[]) =>
  Buffer.concat(
    values.map((value) => {
      const word = Buffer.alloc(4)
      word.writeUInt32BE(value >>> 0)
      return word
    }),
  )

/** What the daemon sends instead of the answer to the call with this serial. */
export const LIES: Record<string, (serial: number) => Buffer> = {
  'a length of 3': () => frame({ length: 3 }),
  'a length of 10': () => frame({ length: 10 }),
  'a length of 4 GiB': () => frame({ length: 0xffff_ffff }),
  'a length just above the limit': () => frame({ length: 33_554_432 + 5 }),
  'another procedure’s answer': (serial) => frame({ serial, procedure: 3 }, words(0)),
  'another program': (serial) => frame({ serial, program: 0x1234 }, words(0)),
  'another version': (serial) => frame({ serial, version: 2 }, words(0)),
  'an unknown type': (serial) => frame({ serial, type: 9 }, words(0)),
  'a call of its own': (serial) => frame({ serial, type: TYPE.CALL }, words(0)),
  'an unknown status': (serial) => frame({ serial, status: 7 }, words(0)),
  'a string longer than the frame': (serial) => frame({ serial }, words(1000, 0x41414141)),
  'a string longer than any': (serial) => frame({ serial }, words(0xffff_fff0)),
  'bytes after the answer': (serial) => frame({ serial }, words(0, 0)),
  'no body': (serial) => frame({ serial }),
  'garbage as error': (serial) => frame({ serial, status: STATUS.ERROR }, words(1, 2, 7, 9)),
  'an empty error': (serial) => frame({ serial, status: STATUS.ERROR }),
  'an answer to nothing': (serial) => frame({ serial: serial + 100 }, words(0)),
  'a malformed event': () => frame({ type: TYPE.MESSAGE, procedure: REMOTE.DOMAIN_EVENT_CALLBACK_LIFECYCLE }),
  'an unknown keepalive procedure': () => frame({ program: PROGRAM.KEEPALIVE, procedure: 3, type: TYPE.MESSAGE }),
}
