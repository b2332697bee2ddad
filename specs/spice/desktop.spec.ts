import { describe, expect, test } from '@ocloudview/atp'

// What a user has: keyboard, mouse and screen go through SPICE.
test.override('vmOptions', { profile: 'spice' })
test.override('screenOptions', { via: 'spice' })

const via = 'spice'
/** Clears the console, hides its cursor, and writes on it. */
const show = (text: string) => `printf '\\033c\\033[?25l%s' '${text}' > /dev/tty0`

describe('云桌面 a desktop through SPICE', { tags: ['spice'] }, () => {
  test('用户输入到达客户机', { meta: { id: 'TC-SPICE-1' } }, async ({ keyboard, mouse, guest }) => {
    const typed = await keyboard.type('echo "typed by a user" > /tmp/typed\n', { via, verify: 'require' })
    expect(typed).toBeDelivered()
    expect(typed.path.via).toBe('spice')
    await expect(guest.file('/tmp/typed')).toHaveText('typed by a user\n')
    expect(await mouse.move(0.25, 0.75, { unit: 'fraction', via, verify: 'require' })).toBeDelivered()
    expect(await mouse.click({ button: 'right', via, verify: 'require' })).toBeDelivered()
  })

  test('屏幕变化、稳定并符合预期', { meta: { id: 'TC-SPICE-2' } }, async ({ screen, guest, step }) => {
    const before = await screen.picture()
    await step('write on the console', () => guest.shell(show('READY 42')))
    await screen.waitForChange({ since: before })
    await screen.waitForStable()
    await expect(screen).toMatchImage('就绪 ready')
    const state = await screen.first([
      { name: 'nothing', when: ({ data }) => data.every((pixel) => (pixel & 0xffffff) === 0) },
      { name: 'something', when: () => true },
    ])
    expect(state).toBe('something')
  })

  test('the hypervisor and the client see the same', async ({ screen, vm, guest }) => {
    await guest.shell(show('one screen, two ways to see it'))
    const seen = await screen.waitForStable()
    const drawn = await vm.screen.waitForStable()
    expect(Buffer.from(rgb(seen)).equals(Buffer.from(rgb(drawn)))).toBe(true)
  })

  test('a scrolling console is measured', async ({ spice, screen, guest }) => {
    await screen.waitForStable()
    await guest.shell('(while sleep 0.1; do echo "a line of a text that scrolls"; done) > /dev/tty0 2>&1 &')
    const figures = await spice.measure({ forMs: 2000 })
    expect(figures).toMatchObject({ display: 0, width: 1024, height: 768 })
    expect(figures.framesPerS).toBeGreaterThan(0)
    expect(figures.bytesPerS).toBeLessThan(20_000_000)
  })
})

/** Colours without the byte that a screen does not show. */
function rgb({ data }: { data: Uint32Array }): Uint8Array {
  return new Uint8Array(data.map((pixel) => pixel & 0xffffff).buffer)
}
