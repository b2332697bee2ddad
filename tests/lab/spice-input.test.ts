import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openBenchVm, type BenchVm } from '../../bench/support/lab-vm.ts'
import type { DesktopVm } from '../../framework/desktop/index.ts'

const SET_UP_MS = 180_000

describe('input through a SPICE session', () => {
  let machine: BenchVm
  let vm: DesktopVm
  beforeAll(async () => {
    machine = await openBenchVm('spice', () => {})
    vm = machine.vm
  }, SET_UP_MS)
  afterAll(() => machine?.close(), SET_UP_MS)
  const via = 'spice'
  const verify = 'require'

  it('types text that the guest reads, and knows how long it took', async () => {
    const text = 'The "quick" brown fox: 1 + 1 = {2}, <a> & ~b!'
    await vm.keyboard.type('cat > /tmp/typed\n', { via, verify })
    const delivery = await vm.keyboard.type(text, { via, verify })
    await vm.keyboard.press('enter', { via, verify })
    await vm.keyboard.press('ctrl+d', { via, verify })
    await expect.poll(() => vm.guest.file('/tmp/typed').text(), { timeout: 5000 }).toBe(`${text}\n`)
    expect(delivery).toMatchObject({
      outcome: 'delivered',
      path: { via: 'spice', device: 'ps2' },
      lost: 0,
      reordered: 0,
    })
    expect(delivery.latency).toMatchObject({ level: 'kernel', samples: delivery.sent / 2 })
  })

  it('presses what has a prefix, chords, and holds keys', async () => {
    for (const key of ['pause', 'print', 'right', 'altgr', 'ctrl+alt+del', 'shift+tab']) {
      expect(await vm.keyboard.press(key, { via, verify })).toMatchObject({ outcome: 'delivered' })
    }
    expect(await vm.keyboard.press('a', { via, verify, holdMs: 400 })).toMatchObject({
      sent: 2,
      seen: 2,
      duplicated: 0,
    })
  })

  it('moves to pixels, also to where the pointer is already, by steps, clicks and scrolls', async () => {
    for (const [x, y] of [
      [0, 0],
      [639, 300],
      [100, 50],
      [100, 50],
      [1023, 767],
    ] as const) {
      const { sent, seen, pointer } = await vm.mouse.move(x, y, { via, verify })
      expect({ sent, seen }).toEqual({ sent: 2, seen: 2 })
      // QEMU rounds whole pixels down to its axis, of which the last pixel is not the end.
      expect(pointer?.error).toBeLessThan(2)
    }
    expect(await vm.mouse.drag({ x: 20, y: 30 }, { x: 420, y: 130 }, { via, verify })).toMatchObject({
      outcome: 'delivered',
      stuck: [],
    })
    expect(await vm.mouse.dblclick({ via, verify })).toMatchObject({ sent: 4, seen: 4 })
    expect(await vm.mouse.moveBy(300, -40, { via, verify })).toMatchObject({ outcome: 'delivered' })
    await vm.mouse.click({ x: 10, y: 10, button: 'right', count: 2, via, verify })
    await vm.mouse.scroll(-2, { via, verify })
    await vm.mouse.scroll(3, { via, verify })
  })

  it('mixes with QMP', async () => {
    await vm.keyboard.type('a', { via, verify })
    await vm.keyboard.type('b', { via: 'qmp', verify })
    await vm.mouse.move(500, 500, { via: 'qmp', verify })
    await vm.mouse.move(5, 5, { via, verify })
  })
})
