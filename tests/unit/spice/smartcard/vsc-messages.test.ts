import fc from 'fast-check'
import { expect, it } from 'vitest'
import {
  decodeVsc,
  encodeVsc,
  errorCodeOf,
  initBody,
  NO_READER,
  VSC,
} from '../../../../framework/protocols/spice/smartcard/vsc-messages.ts'

const u32 = fc.integer({ min: 0, max: 0xffff_ffff })

it('what is written is read', () => {
  fc.assert(
    fc.property(u32, u32, fc.uint8Array({ maxLength: 300 }), (type, readerId, body) => {
      expect(decodeVsc(encodeVsc({ type, readerId, body }), 'test')).toEqual({ type, readerId, body })
    }),
  )
})

it('numbers are little-endian, as spice-server reads them', () => {
  expect(encodeVsc({ type: VSC.init, readerId: NO_READER, body: initBody() })).toEqual(
    Uint8Array.from([1, 0, 0, 0, 255, 255, 255, 255, 12, 0, 0, 0, 0x56, 0x53, 0x43, 0x44, 2, 0, 0, 0, 0, 0, 0, 0]),
  )
})

it('bad messages give typed errors', () => {
  fc.assert(
    fc.property(
      u32,
      fc.uint8Array({ minLength: 4, maxLength: 40 }),
      fc.integer({ min: 0, max: 52 }),
      u32,
      (type, body, cut, lie) => {
        const bytes = encodeVsc({ type, readerId: 0, body })
        const shorter = bytes.slice(0, Math.min(cut, bytes.length - 1))
        expect(() => decodeVsc(shorter, 'test')).toThrow(expect.objectContaining({ code: 'ATP_SPICE_PROTOCOL' }))
        if (lie === body.length) return
        new DataView(bytes.buffer, bytes.byteOffset).setUint32(8, lie, true)
        expect(() => decodeVsc(bytes, 'test')).toThrow(expect.objectContaining({ code: 'ATP_SPICE_PROTOCOL' }))
      },
    ),
  )
  const short = { type: VSC.error, readerId: 0, body: new Uint8Array(3) }
  expect(() => errorCodeOf(short, 'test')).toThrow(expect.objectContaining({ code: 'ATP_SPICE_PROTOCOL' }))
})
