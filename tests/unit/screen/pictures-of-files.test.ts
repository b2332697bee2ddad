import { encode } from 'fast-png'
import { describe, expect, it } from 'vitest'
import { encodePng } from '../../../framework/screen/image-file.ts'
import { toPicture } from '../../../framework/screen/index.ts'
import { picture } from './picture.ts'

const contentType = 'image/png'

describe('pictures of image files', () => {
  it('have the same pixels in PNG and back', () => {
    const seen = picture(7, 5, { '0,0': 0x010203, '6,4': 0xfffefd }, 0x808182)
    expect(toPicture(encodePng(seen))).toEqual(seen)
  })

  it('are read from shades of grey, with and without opacity', () => {
    const grey = encode({ width: 2, height: 1, data: new Uint8Array([5, 250]), channels: 1, depth: 8 })
    expect([...toPicture({ contentType, bytes: grey }).data]).toEqual([0x050505, 0xfafafa])
    const withAlpha = encode({ width: 1, height: 1, data: new Uint8Array([5, 7]), channels: 2, depth: 8 })
    expect([...toPicture({ contentType, bytes: withAlpha }).data]).toEqual([0x050505])
  })

  it('are read from PPM with rows filled up to four bytes, as QEMU writes them at odd widths', () => {
    const header = Buffer.from('P6\n3 2\n255\n')
    const row = (first: number) => [...Array.from({ length: 9 }, (_, at) => first + at), 0xee, 0xee, 0xee]
    const bytes = Buffer.concat([header, Buffer.from([...row(0), ...row(16)])])
    const pixels = [0x000102, 0x030405, 0x060708, 0x101112, 0x131415, 0x161718]
    expect([...toPicture({ contentType: 'image/x-portable-pixmap', bytes }).data]).toEqual(pixels)
  })

  it('are refused with more than 8 bits, or damaged', () => {
    const deep = encode({ width: 1, height: 1, data: new Uint16Array([1, 2, 3]), channels: 3, depth: 16 })
    expect(() => toPicture({ contentType, bytes: deep })).toThrow(
      expect.objectContaining({ code: 'ATP_SCREEN_IMAGE_FORMAT' }),
    )
    const { bytes } = encodePng(picture(40, 40, { '3,3': 0xff }))
    const damaged = bytes.slice(0, bytes.length / 2)
    expect(() => toPicture({ contentType, bytes: damaged })).toThrow(
      expect.objectContaining({ code: 'ATP_VM_SCREENSHOT' }),
    )
  })
})
