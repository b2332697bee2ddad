import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openBenchVm, type BenchVm } from '../../bench/support/lab-vm.ts'
import type { DesktopVm, Screen } from '../../framework/desktop/index.ts'
import { compare } from '../../framework/screen/index.ts'

const SET_UP_MS = 180_000

describe('the screen through a SPICE session', () => {
  let machine: BenchVm
  let vm: DesktopVm
  let screen: Screen
  beforeAll(async () => {
    machine = await openBenchVm('spice', () => {})
    vm = machine.vm
    screen = await vm.screenVia('spice')
  }, SET_UP_MS)
  afterAll(() => machine?.close(), SET_UP_MS)
  /** Clears the console, hides its cursor, and writes on it. */
  const show = (text: string) => vm.guest.shell(`printf '\\033c\\033[?25l%b' "$1" > /dev/tty0`, { args: [text] })

  it('is the hypervisor’s, pixel by pixel', async () => {
    expect(screen.via).toBe('spice')
    for (const text of ['READY', '\\033[44;33mcolours\\033[0m '.repeat(40), 'line\\n'.repeat(80)]) {
      const before = await screen.picture()
      await show(text)
      await screen.waitForChange({ since: before })
      const seen = await screen.waitForStable()
      expect(compare(seen, await vm.screen.picture()).reason).toBe('0 of 786432 pixels differ')
    }
    const { counters } = await (await vm.spice()).picture()
    expect(counters.unsupported).toEqual({})
  })

  it('tells of a change when it happens, and of a size', async () => {
    await show('')
    await screen.waitForStable()
    const changing = screen.waitForChange({ timeoutMs: 8000 })
    await show('now')
    await changing
    await screen.waitForSize({ width: 1024, height: 768 })
  })

  it('comes back with its channel', async () => {
    await show('before the loss')
    const before = await screen.waitForStable()
    const { connection } = await vm.spice()
    connection.getChannel('display')?.lose(new Error('lost on purpose'))
    await expect.poll(() => connection.getChannel('display')?.state, { timeout: 10_000 }).toBe('open')
    expect(compare(await screen.picture(), before).reason).toBe('0 of 786432 pixels differ')
    await show('after the loss')
    const after = await screen.waitForChange({ since: before })
    expect(compare(await screen.waitForStable(), await vm.screen.picture()).same).toBe(true)
    expect(after.width).toBe(1024)
  })
})
