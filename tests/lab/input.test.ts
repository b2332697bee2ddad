import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openBenchVm, type BenchVm } from '../../bench/support/lab-vm.ts'
import { isAtpError, Secret } from '../../framework/core/index.ts'
import type { DesktopVm } from '../../framework/desktop/index.ts'
import { KEYS } from '../../framework/keys/index.ts'

const SET_UP_MS = 180_000
const errorOf = async (work: Promise<unknown>) => {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (isAtpError(error)) return error
  throw new Error('no framework error was thrown', { cause: error })
}

describe.each(['ps2', 'virtio', 'usb'] as const)('input into a guest with %s devices', (profile) => {
  let machine: BenchVm
  let vm: DesktopVm
  beforeAll(async () => {
    machine = await openBenchVm(profile, () => {})
    vm = machine.vm
  }, SET_UP_MS)
  afterAll(() => machine?.close(), SET_UP_MS)

  it('types text that the guest reads, and knows how long it took', async () => {
    const text = 'The "quick" brown fox: 1 + 1 = {2}, <a> & ~b!'
    await vm.keyboard.type(`cat > /tmp/typed\n`, { verify: 'require' })
    const delivery = await vm.keyboard.type(text, { verify: 'require' })
    await vm.keyboard.press('enter', { verify: 'require' })
    await vm.keyboard.press('ctrl+d', { verify: 'require' })
    await expect.poll(() => vm.guest.file('/tmp/typed').text(), { timeout: 5000 }).toBe(`${text}\n`)
    expect(delivery).toMatchObject({
      outcome: 'delivered',
      path: { via: 'qmp', device: profile },
      lost: 0,
      reordered: 0,
    })
    const { latency } = delivery
    expect(latency?.level).toBe('kernel')
    expect(latency?.samples).toBe(delivery.sent / 2)
    expect(latency?.boundMs).toBeGreaterThan(0)
    // The true latency is positive and shorter than the way back to the host.
    expect(latency?.maxMs).toBeGreaterThan(-(latency?.boundMs ?? 0))
    expect(latency?.p50Ms).toBeLessThan((latency?.loop?.p50Ms ?? 0) + (latency?.boundMs ?? 0))
  })

  it('delivers every key of the table that the device has, and refuses the others', async () => {
    for (const key of KEYS) {
      const pressed = vm.keyboard.press(key.qcode, { verify: 'require' })
      if (profile === 'virtio' || key[profile]) expect(await pressed).toMatchObject({ sent: 2, seen: 2 })
      else expect((await errorOf(pressed)).code).toBe('ATP_KEY_DEVICE')
    }
    // Locks are on now if their keys were pressed an odd number of times.
    for (const lock of ['caps_lock', 'num_lock', 'scroll_lock']) await vm.keyboard.press(lock, { verify: 'require' })
  }, 30_000)

  it('presses chords, holds keys, and keeps a secret', async () => {
    expect(await vm.keyboard.press('ctrl+alt+del', { verify: 'require' })).toMatchObject({ sent: 6, seen: 6 })
    // Long enough for the guest's kernel to repeat the key, which is nobody's input.
    const held = await vm.keyboard.press('a', { holdMs: 600, verify: 'require' })
    expect(held).toMatchObject({ sent: 2, seen: 2, lost: 0, duplicated: 0 })
    // A PS/2 keyboard repeats its keys itself, which QEMU's does not.
    if (profile === 'ps2') expect(held).not.toHaveProperty('repeats')
    else expect(held.repeats).toBeGreaterThan(0)
    await vm.keyboard.down('shift', { verify: 'require' })
    expect(await vm.keyboard.type('b', { verify: 'require' })).toMatchObject({ stuck: [] })
    await vm.keyboard.up('shift', { verify: 'require' })
    const secret = await vm.keyboard.type(new Secret('pw', 'hunter2'), { verify: 'require' })
    expect(secret).toMatchObject({ input: '7 secret characters', outcome: 'delivered', sent: 14 })
    await vm.keyboard.press('ctrl+c')
  })

  it('moves, clicks and scrolls', async () => {
    for (const [x, y] of [
      [0, 0],
      [100, 50],
      [100, 50],
    ] as const) {
      expect(await vm.mouse.move(x, y, { verify: 'require' })).toMatchObject({ sent: 2, seen: 2 })
    }
    const { pointer } = await vm.mouse.move(333, 222, { verify: 'require' })
    expect(pointer).toMatchObject({ unit: 'pixel', asked: { x: 333, y: 222 } })
    expect(pointer?.error).toBeLessThan(0.05)
    expect(await vm.mouse.moveBy(300, -40, { verify: 'require' })).toMatchObject({
      pointer: { unit: 'count', reached: { x: 300, y: -40 }, error: 0 },
    })
    expect(await vm.mouse.drag({ x: 20, y: 30 }, { x: 420, y: 130 }, { verify: 'require' })).toMatchObject({
      outcome: 'delivered',
      sent: 14,
      stuck: [],
      pointer: { asked: { x: 420, y: 130 } },
    })
    expect(await vm.mouse.dblclick({ x: 9, y: 9, verify: 'require' })).toMatchObject({ sent: 6, seen: 6 })
    await vm.mouse.click({ x: 10, y: 10, button: 'right', count: 2, verify: 'require' })
    await vm.mouse.scroll(2, { verify: 'require' })
    await vm.mouse.scroll(-2, { verify: 'require' })
  })

  it('finds nothing to blame on the guest when its reader was too slow, or died', async () => {
    await vm.guest.shell('killall -STOP cat')
    const typing = errorOf(vm.keyboard.type('x'.repeat(100), { verify: 'require', delayMs: 10 }))
    // More than the kernel keeps for a reader: 64 events.
    await new Promise((resolve) => setTimeout(resolve, 1200))
    await vm.guest.shell('killall -CONT cat')
    expect(await typing).toMatchObject({ code: 'ATP_VERIFY_IMPOSSIBLE', verdict: 'infrastructure' })
    await vm.keyboard.press('ctrl+c', { verify: 'require' })
    await vm.guest.shell('killall cat')
    expect(await vm.keyboard.type('y')).toMatchObject({
      outcome: 'unverified',
      reason: expect.stringContaining('has ended'),
    })
    expect(await vm.keyboard.press('ctrl+c', { verify: 'require' })).toMatchObject({ outcome: 'delivered' })
  })

  it('measures true again after the guest was paused', async () => {
    await vm.keyboard.press('a', { verify: 'require' })
    await vm.suspend()
    expect((await errorOf(vm.keyboard.press('a', { verify: 'require' }))).verdict).toBe('infrastructure')
    await vm.resume()
    // Whatever comes first is warm-up.
    await vm.keyboard.press('ctrl+c', { verify: 'require' })
    const { latency } = await vm.keyboard.press('ctrl+c', { verify: 'require' })
    expect(latency?.samples).toBe(2)
    expect(latency?.p50Ms).toBeLessThan((latency?.loop?.p50Ms ?? 0) + (latency?.boundMs ?? 0))
  })

  it('turns red when the guest drops one key', async ({ skip }) => {
    skip(profile !== 'ps2', "only the PS/2 driver's key table can be changed from inside the guest")
    // Scancode 1e is the key A: the guest's driver knows it no more.
    await vm.guest.shell('setkeycodes 1e 0')
    try {
      const error = await errorOf(vm.keyboard.type('cat', { verify: 'require' }))
      expect(error).toMatchObject({ code: 'ATP_INPUT_DAMAGED', verdict: 'product' })
      expect(error.message).toContain('sent KEY_A press, saw nothing')
      expect(error.context['delivery']).toMatchObject({ sent: 6, seen: 4, lost: 2 })
    } finally {
      await vm.guest.shell('setkeycodes 1e 30')
    }
    expect(await vm.keyboard.type('cat', { verify: 'require' })).toMatchObject({ lost: 0 })
    await vm.keyboard.press('ctrl+c')
  })
})
