import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { isAtpError } from '../../framework/core/index.ts'
import { layoutNamed } from '../../framework/keys/index.ts'
import { consoleKeymap } from '../support/xkb/console-keymap.ts'
import { askXkb, xkbMissing } from '../support/xkb/xkb.ts'
import { leaseVm, type LeasedTestVm } from './leased-vm.ts'

/** Marks whose dead keys the console's kernel composes with Latin letters. */
const COMPOSED = /^[\u0300\u0301\u0302\u0303\u0308\u0327]$/

let leased: LeasedTestVm
beforeAll(async () => {
  leased = await leaseVm('ps2')
})
afterAll(() => leased?.end())

/** What a program on the guest's console read while it was typed. */
async function readBack(text: string, options: { layout?: string; unicode?: 'guest' } = {}): Promise<string> {
  const { keyboard, guest } = leased.vm
  await keyboard.type('cat > /tmp/typed\n', { ...options, verify: 'require' })
  const delivery = await keyboard.type(text, { ...options, verify: 'require' })
  expect(delivery).toMatchObject({ outcome: 'delivered', lost: 0, reordered: 0, stuck: [] })
  await keyboard.press('ctrl+d', { verify: 'require' })
  await expect.poll(() => guest.file('/tmp/typed').text(), { timeout: 5000 }).toBe(text)
  return guest.file('/tmp/typed').text()
}

/** Everything of a layout that a console can make: its composition knows Latin-1 only. */
function consoleText(name: string): string {
  const layout = layoutNamed(name)
  const characters: string[] = []
  for (let code = 0x21; code < 0x2600; code++) {
    const character = String.fromCodePoint(code)
    const strokes = layout.strokes(character)
    const mark = character.normalize('NFD')[1] ?? ''
    // Of a dead key and the space bar it makes ASCII.
    if (strokes?.length === 1 || '`^~'.includes(character)) characters.push(character)
    else if (strokes && code <= 0xff && COMPOSED.test(mark)) characters.push(character)
  }
  // A line of a terminal holds 4096 bytes.
  return `${characters.join('')}\n`
}

describe('text on the console of a guest', () => {
  it.for(['us', 'gb', 'de', 'fr'])('is what was typed with the layout %s', async (name, { skip }) => {
    const missing = xkbMissing()
    skip(missing !== undefined, missing)
    const { guest } = leased.vm
    await guest.shell('dumpkmap > /tmp/keymap < /dev/tty1')
    const original = await guest.file('/tmp/keymap').read()
    await guest.file('/tmp/layout').write(consoleKeymap(original, askXkb(name, [])))
    expect(await guest.shell('loadkmap < /tmp/layout')).toMatchObject({ exitCode: 0 })
    try {
      const text = consoleText(name)
      expect(Array.from(text).length).toBeGreaterThan(name === 'us' ? 90 : 200)
      expect(await readBack(text, { layout: name })).toBe(text)
    } finally {
      await guest.shell('loadkmap < /tmp/keymap')
    }
  })

  it('is whole where no key makes it', async () => {
    const text = 'ATP 测试：虚拟桌面，键盘输入！漢字 Größe 😀 𠮷\n'
    expect(await readBack(text, { unicode: 'guest' })).toBe(text)
  })

  it('is refused where nothing can make it, before the first key', async () => {
    const { keyboard, guest } = leased.vm
    const refused = await keyboard.type('中').catch((error: unknown) => error)
    expect(isAtpError(refused) && refused.code).toBe('ATP_KEY_UNMAPPED')
    const reasonOf = async () => {
      const error = await keyboard.type('中', { unicode: 'guest' }).catch((reason: unknown) => reason)
      if (!isAtpError(error)) throw new Error('it was typed')
      expect(error.code).toBe('ATP_KEY_UNICODE')
      return error.message
    }
    await guest.shell('echo 0 > /sys/module/vt/parameters/default_utf8')
    expect(await reasonOf()).toContain('not in Unicode mode')
    await guest.shell('echo 1 > /sys/module/vt/parameters/default_utf8')
    const drawing = await guest.shell('touch /dev/fb0; sleep 60 < /dev/fb0 > /dev/null 2>&1 & echo $!')
    expect(await reasonOf()).toContain('the graphical screen of "sleep"')
    await guest.shell(`kill ${Number(drawing.stdoutText)}; rm /dev/fb0`)
  })
})
