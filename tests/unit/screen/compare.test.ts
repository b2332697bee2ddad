import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compare } from '../../../framework/screen/index.ts'
import { differs } from '../../../framework/screen/compare.ts'
import { picture } from './picture.ts'

const black = picture(20, 10)
const dot = picture(20, 10, { '3,4': 0xffffff })

describe('comparing pictures', () => {
  it('counts the pixels that differ, and shows them', () => {
    expect(compare(black, black)).toMatchObject({ same: true, differing: 0 })
    const found = compare(dot, black)
    expect(found).toMatchObject({ same: false, differing: 1, reason: '1 of 200 pixels differ' })
    expect(found.difference?.data[4 * 20 + 3]).toBe(0xff0000)
  })

  it('ignores opacity, which a screen has none of', () => {
    expect(compare(picture(4, 4, {}, 0xff123456), picture(4, 4, {}, 0x00123456)).same).toBe(true)
    expect(differs(picture(4, 4, {}, 0xff123456), picture(4, 4, {}, 0x00123456))).toBe(false)
  })

  it('leaves out masks, what lies outside of the region, and as many pixels as may differ', () => {
    expect(compare(dot, black, { masks: [{ x: 3, y: 4, width: 1, height: 1 }] }).same).toBe(true)
    expect(compare(dot, black, { masks: [{ x: 4, y: 4, width: 9, height: 1 }] }).same).toBe(false)
    expect(compare(dot, black, { region: { x: 4, y: 0, width: 16, height: 10 } }).same).toBe(true)
    expect(compare(dot, black, { maxPixels: 1 })).toMatchObject({ same: true, reason: '1 of 200 pixels differ, 1 may' })
    const region = { x: 2, y: 3, width: 4, height: 4 }
    expect(compare(dot, picture(4, 4, { '1,1': 0xffffff }), { region }).same).toBe(true)
    const masks = [{ x: 0, y: 0, width: 4, height: 10 }]
    expect(compare(dot, picture(4, 4), { region, masks }).same).toBe(true)
  })

  it('forgives colours within the tolerance', () => {
    const one = picture(4, 4, {}, 0x808080)
    const other = picture(4, 4, {}, 0x828282)
    expect(compare(one, other).same).toBe(false)
    expect(compare(one, other, { tolerance: 0.1 }).same).toBe(true)
    expect(differs(one, other, { tolerance: 0.1 })).toBe(false)
  })

  it('says when sizes differ', () => {
    expect(compare(black, picture(10, 10))).toMatchObject({
      same: false,
      reason: 'it has 20×10 pixels, expected were 10×10',
    })
    expect(differs(black, picture(10, 10))).toBe(true)
  })

  it('refuses parts that are not on the screen', () => {
    const refused = expect.objectContaining({ code: 'ATP_SCREEN_REGION' })
    for (const part of [
      { x: 19, y: 0, width: 2, height: 1 },
      { x: -1, y: 0, width: 2, height: 1 },
      { x: 0, y: 0, width: 0, height: 1 },
      { x: 0.5, y: 0, width: 1, height: 1 },
    ]) {
      expect(() => compare(black, black, { region: part })).toThrow(refused)
      expect(() => compare(black, black, { masks: [part] })).toThrow(refused)
    }
  })

  it('finds the same with and without counting', () => {
    const pixels = fc.uint8Array({ minLength: 24, maxLength: 24, max: 2 })
    fc.assert(
      fc.property(pixels, pixels, fc.nat(6), (a, b, maxPixels) => {
        const one = { width: 6, height: 4, data: Uint32Array.from(a) }
        const other = { width: 6, height: 4, data: Uint32Array.from(b, (value) => value * 0x800000) }
        const region = { x: 1, y: 1, width: 4, height: 3 }
        const masks = [{ x: 2, y: 0, width: 1, height: 4 }]
        const options = { region, masks, maxPixels }
        expect(differs(one, other, options)).toBe(!compare(one, other, options).same)
      }),
    )
  })
})
