import { describe, expect, test } from '@ocloudview/atp'

describe('mouse', { tags: ['input'] }, () => {
  test('moves to a place and clicks there', async ({ mouse }) => {
    const delivery = await mouse.click({ x: 0.25, y: 0.5, unit: 'fraction', verify: 'require' })
    expect(delivery).toBeDelivered()
  })
})
