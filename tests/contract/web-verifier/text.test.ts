import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { missingChromium } from '../../support/headless-chromium.ts'
import { GuestBrowser } from '../../support/web-verifier/guest-browser.ts'

const missing = missingChromium()

describe('text that typed keys make', { timeout: 120_000 }, () => {
  let guest: GuestBrowser
  beforeAll(async () => {
    if (missing) return
    guest = await GuestBrowser.start()
    await guest.open()
  })
  beforeEach(async ({ skip }) => {
    skip(missing !== undefined, missing)
    expect(await guest.link.verify({ type: 'text', action: 'clear' })).toMatchObject({ verified: true })
  })
  afterAll(() => guest?.[Symbol.asyncDispose]())

  const holds = (text: string, timeoutMs = 5000) =>
    guest.link.verify({ type: 'text', action: 'equals', metadata: { text, timeout_ms: timeoutMs } })
  const type = async (text: string) => {
    for (const key of text) {
      await guest.chromium.send('Input.dispatchKeyEvent', { type: 'keyDown', key, text: key === '\n' ? '\r' : key })
      await guest.chromium.send('Input.dispatchKeyEvent', { type: 'keyUp', key })
    }
  }

  it('is awaited, and compared in the page', async () => {
    const result = holds('Grüße, 2 Zeilen\r\nund €')
    await type('Grüße, 2 Zeilen\nund €')
    expect(await result).toMatchObject({ verified: true, details: { expected_characters: 21, characters: 21 } })
  })

  it('an input method: what is being composed does not count, what was chosen does', async () => {
    const result = holds('你好，世界 🖥')
    await guest.chromium.send('Input.imeSetComposition', { text: '你好，世界 🖥', selectionStart: 8, selectionEnd: 8 })
    let isDone = false
    void result.then(() => (isDone = true))
    await guest.link.barrier()
    expect(isDone).toBe(false)
    await guest.chromium.send('Input.insertText', { text: '你好，世界 🖥' })
    expect(await result).toMatchObject({ verified: true, details: { characters: 7 } })
  })

  it('another text: the first difference is told, and nothing of either text', async () => {
    await type('secret 密鑰!')
    const { verified, details } = await holds('secret 密码', 200)
    expect(verified).toBe(false)
    expect(details).toEqual({ expected_characters: 9, characters: 10, first_difference: 8 })
    expect((await holds('secret 密鑰', 200)).details).toMatchObject({ first_difference: 9 })
    expect((await holds('secret 密鑰!?', 200)).details).toMatchObject({ first_difference: 10 })
  })

  it('keys are observed at the same time', async () => {
    const delivery = await guest.keyboard.type('abc', { verify: 'require' })
    expect(delivery).toMatchObject({ lost: 0, duplicated: 0 })
  })

  it('an event without a text is answered with an error', async () => {
    const result = await guest.link.verify({ type: 'text', action: 'equals' })
    expect(result).toMatchObject({ verified: false, details: { code: 'ATP_VERIFIER_EVENT' } })
  })
})
