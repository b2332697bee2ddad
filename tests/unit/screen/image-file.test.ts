import { decode } from 'fast-png'
import { describe, expect, it } from 'vitest'
import { imageSize, toPng } from '../../../framework/screen/image-file.ts'
import { ppm } from '../desktop/scripted-host.ts'

const contentType = 'image/x-portable-pixmap'

describe('screenshots', () => {
  it('become PNG with the same pixels', () => {
    const png = toPng({ contentType, bytes: ppm(7, 3) })
    expect(png.contentType).toBe('image/png')
    const picture = decode(png.bytes)
    expect([picture.width, picture.height, picture.channels]).toEqual([7, 3, 3])
    expect([...picture.data]).toEqual(Array.from({ length: 63 }, (_, i) => i))
    expect(toPng(png)).toEqual(png)
    expect(imageSize(png)).toEqual({ width: 7, height: 3 })
    expect(imageSize({ contentType, bytes: ppm(7, 3) })).toEqual({ width: 7, height: 3 })
  })

  it('are refused when they are something else or too short', () => {
    const refused = expect.objectContaining({ code: 'ATP_VM_SCREENSHOT', branch: 'protocol' })
    expect(() => toPng({ contentType, bytes: ppm(7, 3).subarray(0, -1) })).toThrow(refused)
    for (const text of ['', 'P5\n1 1\n255\nx', 'P6\n1 1\n65535\nxxxxxx', '<html>']) {
      expect(() => toPng({ contentType, bytes: Buffer.from(text) })).toThrow(refused)
      expect(() => imageSize({ contentType, bytes: Buffer.from(text) })).toThrow(refused)
    }
  })
})
