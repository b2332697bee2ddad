import { expect, test } from '@ocloudview/atp'

test.override('vmOptions', { profile: 'spice' })

test(
  'a mode that the guest sets is seen by both',
  { tags: ['spice'], timeout: 120_000 },
  async ({ vm, guest, step }) => {
    const screens = [vm.screen, await vm.screenVia('spice')]
    for (const screen of screens) await expect(screen).toHaveSize({ width: 1024, height: 768 })
    await step('重新启动客户机 restart the guest', () => guest.shell('(sleep 0.5; reboot -f) > /dev/null 2>&1 &'))
    await step('the firmware sets text mode', async () => {
      for (const screen of screens) await expect(screen).toHaveSize({ width: 720, height: 400 }, { timeoutMs: 25_000 })
    })
    await step(
      'the driver sets its own mode',
      async () => {
        for (const screen of screens)
          await expect(screen).toHaveSize({ width: 1024, height: 768 }, { timeoutMs: 80_000 })
      },
      { timeoutMs: 90_000 },
    )
  },
)
