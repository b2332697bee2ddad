import { describe, expect, test } from '@ocloudview/atp'

/** Clears the console, hides its cursor, and writes on it. */
const show = (text: string) => `printf '\\033c\\033[?25l%s' '${text}' > /dev/tty0`

describe('屏幕 the screen', { tags: ['smoke'] }, () => {
  test(
    'changes, comes to rest, and looks as expected',
    { meta: { id: 'TC-SCREEN-1' } },
    async ({ screen, guest, step }) => {
      const before = await screen.picture()
      await step('write on the console', () => guest.shell(show('READY 42')))
      await screen.waitForChange({ since: before })
      await screen.waitForStable()
      await expect(screen).toMatchImage('就绪 ready')
    },
  )

  test('is in one of two states', async ({ screen, guest }) => {
    const empty = await guest.shell(show('')).then(() => screen.waitForStable())
    await guest.shell(show('Login failed'))
    const state = await screen.first([
      { name: 'nothing', image: empty },
      { name: 'something', when: ({ data }) => data.some((pixel) => (pixel & 0xffffff) !== 0) },
    ])
    expect(state).toBe('something')
  })
})
