import { describe, expect, test } from '@ocloudview/atp'

describe('mouse', { tags: ['input'] }, () => {
  test('moves to a place and clicks there', async ({ mouse }) => {
    const delivery = await mouse.click({ x: 0.25, y: 0.5, unit: 'fraction', verify: 'require' })
    expect(delivery).toBeDelivered()
  })

  test('drags, and says where the pointer is', async ({ mouse }) => {
    const { pointer } = await mouse.drag({ x: 100, y: 100 }, { x: 300, y: 200 }, { verify: 'require' })
    expect(pointer?.reached.x).toBeCloseTo(300, 1)
    expect(pointer?.error).toBeLessThan(0.1)
  })
})
