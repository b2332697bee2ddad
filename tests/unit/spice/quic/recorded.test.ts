import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { decodeQuic } from '../../../../framework/protocols/spice/codec/quic.ts'
import { encodeQuic } from './encode-quic.ts'
import { RECORDED, recordedBytes } from './recordings.ts'

describe('QUIC images that spice-server 0.15.1 made', () => {
  it.each(RECORDED)('$file has the pixels that the guest drew', ({ file, width, height, type, sha256 }) => {
    const pixels = decodeQuic(recordedBytes(file), { width, height })
    expect({ width: pixels.width, height: pixels.height, hasAlpha: pixels.hasAlpha }).toEqual({
      width,
      height,
      hasAlpha: type === 5,
    })
    expect(createHash('sha256').update(new Uint8Array(pixels.data.buffer)).digest('hex')).toBe(sha256)
  })

  it.each(RECORDED)('$file is what the encoder of these tests makes of them, too', ({ file, width, height, type }) => {
    const bytes = recordedBytes(file)
    const encoded = encodeQuic(type, width, height, decodeQuic(bytes, { width, height }).data)
    expect(Buffer.compare(bytes, encoded)).toBe(0)
  })
})
