import { describe, expect, test } from '@ocloudview/atp'

describe('键盘输入', { tags: ['input', 'smoke'] }, () => {
  test('typed text arrives in the guest, key by key', async ({ keyboard }) => {
    const delivery = await keyboard.type('Hello, World! 0123456789', { verify: 'require' })
    expect(delivery).toBeDelivered()
    expect(delivery.latency?.samples).toBeGreaterThan(20)
  })

  test('组合键按顺序按下并按相反顺序松开', async ({ keyboard }) => {
    const delivery = await keyboard.press('ctrl+alt+del', { verify: 'require' })
    expect(delivery).toMatchObject({ sent: 6, seen: 6, stuck: [] })
  })

  test('a character the layout cannot make is refused before the first stroke', async ({ keyboard }) => {
    await expect(keyboard.type('abc你')).rejects.toMatchObject({ code: 'ATP_KEY_UNMAPPED' })
  })
  test('文字：没有按键的字符按其编码输入', async ({ keyboard, guest }) => {
    const text = '虚拟桌面，Größe 😀'
    await keyboard.type('cat > /tmp/text\n', { verify: 'require' })
    expect(await keyboard.type(`${text}\n`, { unicode: 'guest', verify: 'require' })).toBeDelivered()
    await keyboard.press('ctrl+d', { verify: 'require' })
    await expect(guest.file('/tmp/text')).toContain(text)
  })
})
