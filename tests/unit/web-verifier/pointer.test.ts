import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { TabletAxis } from '../../../guest/web/tablet-axis.ts'
import { wheelNotches } from '../../../guest/web/wheel.ts'

const WIDTH = 1280
const unitsOf = (pixel: number) => Math.round((pixel * 32_767) / (WIDTH - 1))
const axis = () => new TabletAxis(0, () => WIDTH)

describe('an axis of the pointer', () => {
  it('tells a position when it changes, as that of a tablet', () => {
    const x = axis()
    expect(x.at(0, 1n)).toEqual({ kind: 'abs', code: 0, value: 0, guestNs: 1n })
    expect(x.at(0, 2n)).toBeUndefined()
    expect(x.at(WIDTH - 1, 3n)).toMatchObject({ value: 32_767, guestNs: 3n })
  })

  it('of unknown origin has moved where that is expected', () => {
    const x = axis()
    expect(x.expect([unitsOf(100)])).toBeUndefined()
    expect(x.at(700, 1n)).toBeUndefined()
    expect(x.at(100, 2n)).toMatchObject({ value: unitsOf(100) })

    x.forget()
    x.expect([unitsOf(100)])
    expect(x.at(101, 1n)).toMatchObject({ value: unitsOf(101) })
  })

  it('tells a first position when it turns out to have been expected', () => {
    const x = axis()
    x.expect([])
    expect(x.at(100, 1n)).toBeUndefined()
    expect(x.expect([unitsOf(500)])).toBeUndefined()
    expect(x.expect([unitsOf(100)])).toMatchObject({ value: unitsOf(100), guestNs: 1n })
    expect(x.expect([unitsOf(100)])).toBeUndefined()
  })

  it('tells everything where nobody said what is expected', () => {
    const x = axis()
    expect(x.at(700, 1n)).toMatchObject({ value: unitsOf(700) })
    x.expect([unitsOf(5)])
    x.forget()
    expect(x.at(700, 1n)).toMatchObject({ value: unitsOf(700) })
  })

  it('knows which positions the page is told of', () => {
    const x = axis()
    expect(x.isWithin(unitsOf(0))).toBe(true)
    x.page = { start: 100, end: 300 }
    expect([0, 97, 99, 100, 299, 301, 1279].map((pixel) => x.isWithin(unitsOf(pixel)))).toEqual([
      false,
      false,
      true,
      true,
      true,
      false,
      false,
    ])
  })

  it('keeps within half a unit of the pixel, on every screen', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 16_384 }), fc.nat(), (width, any) => {
        const pixel = any % width
        const value = new TabletAxis(1, () => width).at(pixel, 0n)?.value ?? -1
        expect(Math.abs(value - (pixel * 32_767) / (width - 1))).toBeLessThanOrEqual(0.5)
      }),
    )
  })
})

describe('notches of the wheel', () => {
  it.each([
    ['Chromium: up', { deltaX: 0, deltaY: -120, deltaMode: 0, wheelDeltaX: 0, wheelDeltaY: 120 }, { x: 0, y: 1 }],
    [
      'Chromium: two at once',
      { deltaX: 0, deltaY: 106, deltaMode: 0, wheelDeltaX: 0, wheelDeltaY: -240 },
      { x: 0, y: -2 },
    ],
    ['lines, without the old fields', { deltaX: 3, deltaY: -6, deltaMode: 1 }, { x: 1, y: 2 }],
    ['pixels, without the old fields', { deltaX: 0, deltaY: 48, deltaMode: 0 }, { x: 0, y: -1 }],
    ['less than one is one', { deltaX: 0, deltaY: -4, deltaMode: 0, wheelDeltaX: 0, wheelDeltaY: 12 }, { x: 0, y: 1 }],
    ['not turned', { deltaX: 0, deltaY: 0, deltaMode: 0 }, { x: 0, y: 0 }],
  ])('%s', (_, turn, expected) => {
    expect(wheelNotches(turn)).toEqual(expected)
  })
})
