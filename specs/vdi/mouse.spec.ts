import { describe, expect, test } from '@ocloudview/atp'

describe('平台桌面上的鼠标', { tags: ['vdi', 'input'] }, () => {
  test.override('poolOptions', { platform: true, vms: ['张三', '李四'] })

  test('两位用户同时移动和点击', async ({ pool, step }) => {
    await pool.each(async ({ mouse }, user) => {
      await step(`${user}：移动并点击`, async () => {
        const moved = await mouse.move(0.25, 0.75, { unit: 'fraction', verify: 'require' })
        expect(moved).toBeDelivered()
        for (const button of ['left', 'right'] as const) {
          expect(await mouse.click({ button, verify: 'require' })).toBeDelivered()
        }
      })
    })
  })
})
