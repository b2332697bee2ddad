// All desktops of a pool are started in one call and must answer. ATP_VDI_DESKTOPS=50 makes it a load test: give it
// the time (timeouts.lease of atp.config.ts) and a machine that carries that many.
import { describe, expect, test } from '@ocloudview/atp'

const COUNT = Number(process.env['ATP_VDI_DESKTOPS'] ?? 4)
const USERS = Array.from({ length: COUNT }, (_, index) => `用户${index + 1}`)

describe('并发启动', { tags: ['vdi'] }, () => {
  test.override('poolOptions', { platform: true, vms: USERS })

  test(`${COUNT} 台桌面同时启动`, { timeout: 60_000 + COUNT * 10_000 }, async ({ pool, vdi, step, attach }) => {
    await step('每台桌面都有应答', () => pool.each((vm) => vm.guest.ping()))
    await step('平台与虚拟化层一致', async () => {
      const names = new Set(pool.all.map(({ name }) => name))
      const known = (await vdi.domains.listAll({ status: [1] })).filter(({ name }) => names.has(name))
      expect(known).toHaveLength(COUNT)
      await pool.each((vm) => expect(vm).toBeRunning({ timeoutMs: 5_000 + COUNT * 500 }))
    })
    await step('每台桌面都收到键盘输入', () =>
      pool.each(async (vm, user) => {
        const delivery = await vm.keyboard.type(`desktop ${user.slice(2)}`, { verify: 'require' })
        expect(delivery).toBeDelivered()
      }),
    )
    const lines = USERS.map((user) => `${user}\t${pool.vms[user]?.name}\t${pool.vms[user]?.host.id}`)
    attach('桌面', 'text/plain', lines.join('\n'))
  })
})
