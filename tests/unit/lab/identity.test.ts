import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { identityRecord } from '../../../lab/identity.ts'
import { HOST_NAME_BYTES, IDENTITY_RECORD_BYTES, identityProgram } from '../../../lab/image/identity-program.ts'

const nonce = Buffer.from('12345678')
const uuid = 'e496b897-3b5e-41fb-a93d-023cf4d55a14'

describe('the record of an identity', () => {
  it('holds nonce, time, and as much of the name as a host name may have, in whole characters', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 80 }), fc.nat(2 ** 42), (name, timeMs) => {
        const record = identityRecord(nonce, timeMs, { name, uuid })
        expect(record.length).toBe(IDENTITY_RECORD_BYTES)
        expect(record.toString('latin1', 0, 8)).toBe('12345678')
        expect(record.readBigUInt64LE(8) * 1000n + record.readBigUInt64LE(16) / 1_000_000n).toBe(BigInt(timeMs))
        expect(record.readBigUInt64LE(16)).toBeLessThan(1_000_000_000n)
        const lengthBytes = Number(record.readBigUInt64LE(24))
        expect(lengthBytes).toBeLessThanOrEqual(HOST_NAME_BYTES)
        const kept = record.toString('utf8', 32, 32 + lengthBytes)
        expect(name.startsWith(kept)).toBe(true)
        if (kept !== name) expect(lengthBytes).toBeGreaterThan(HOST_NAME_BYTES - 4)
        expect(record.toString('latin1', 96)).toBe(`e496b8973b5e41fba93d023cf4d55a14\n${uuid}\n`)
      }),
    )
  })

  it('names nobody when only the clock is to be set', () => {
    const record = identityRecord(nonce, 1_700_000_000_123)
    expect(record.readBigUInt64LE(16)).toBe(123_000_000n)
    expect(record.subarray(24).every((byte) => byte === 0)).toBe(true)
  })
})

describe('the program in the guest', () => {
  it('is one ELF segment that holds its entry and ends in a jump back to its first answer', () => {
    const program = identityProgram()
    expect(program.toString('latin1', 0, 4)).toBe('\x7fELF')
    const base = program.readUInt32LE(80)
    const entry = program.readUInt32LE(24) - base
    expect(program.readUInt32LE(96)).toBe(program.length)
    expect(program.readUInt32LE(104)).toBeGreaterThan(0x1008 + IDENTITY_RECORD_BYTES)
    // open(2) of 15 + 2 bytes and the move of its result come before.
    expect(program.length + program.readInt32LE(program.length - 4)).toBe(entry + 15 + 2 + 2)
    const path = program.readUInt32LE(entry + 1) - base
    expect(program.toString('latin1', path, program.indexOf(0, path))).toBe('/dev/virtio-ports/atp.identity.0')
  })

  it('is the same each time: it is part of what names an image', () => {
    expect(identityProgram().equals(identityProgram())).toBe(true)
  })
})
