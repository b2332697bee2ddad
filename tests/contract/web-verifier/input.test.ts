import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { InputEvent } from '../../../framework/input/index.ts'
import { KEYS } from '../../../framework/keys/index.ts'
import { missingChromium } from '../../support/headless-chromium.ts'
import { GuestBrowser } from '../../support/web-verifier/guest-browser.ts'

const REQUIRE = { verify: 'require' } as const
const PATIENT = { timeout: 10_000 }
const missing = missingChromium()

describe('input that a browser sees', { timeout: 120_000 }, () => {
  let guest: GuestBrowser
  beforeAll(async () => {
    if (missing) return
    guest = await GuestBrowser.start()
  })
  beforeEach(async ({ skip }) => {
    skip(missing !== undefined, missing)
    guest.path.damage = (event) => [event]
    guest.path.delayMs = 0
    await guest.open()
  })
  afterAll(() => guest?.[Symbol.asyncDispose]())

  /** Damages the n-th key event that is sent, from 0. */
  const damageAt = (place: number, damage: (event: InputEvent) => readonly InputEvent[]) => {
    let count = 0
    guest.path.damage = (event) => (count++ === place ? damage(event) : [event])
  }

  it('typed text arrives, every key with its latency', async () => {
    const text = 'The quick brown fox, 2 lazy dogs & {more}!\n'
    const delivery = await guest.keyboard.type(text, REQUIRE)
    expect(delivery).toMatchObject({ outcome: 'delivered', observed: { by: 'browser', level: 'browser' }, lost: 0 })
    const { latency, latenciesMs } = delivery
    expect(latenciesMs.length).toBeGreaterThanOrEqual(text.length)
    expect(latency).toMatchObject({ level: 'browser', samples: latenciesMs.length })
    const { minMs, maxMs, boundMs, loop } = latency as NonNullable<typeof latency>
    expect(minMs).toBeGreaterThan(-boundMs)
    expect(maxMs).toBeLessThan((loop?.maxMs ?? 0) + boundMs)
    // Drawn with the next picture.
    await expect.poll(() => guest.text('keyboard'), PATIENT).toContain(`${delivery.sent}000`)
  })

  it('latencies are true within their bound, with and without a delay on the way', async () => {
    // The first latency of an observer is left out as warm-up.
    await guest.keyboard.press('a', REQUIRE)
    for (const delayMs of [0, 15]) {
      guest.path.delayMs = delayMs
      for (let count = 0; count < 10; count++) {
        const { latenciesMs, latency } = await guest.keyboard.press('a', REQUIRE)
        await guest.path.settled()
        const { atNs, givenNs, handledNs } = guest.path.lastPress
        const [value, bound] = [latenciesMs[0], latency?.boundMs] as [number, number]
        const [leastMs, mostMs] = [Number(givenNs - atNs) / 1e6, Number(handledNs - atNs) / 1e6]
        expect(leastMs).toBeGreaterThan(delayMs - 1)
        expect(value + bound).toBeGreaterThan(leastMs)
        expect(value - bound).toBeLessThan(mostMs)
        expect(bound).toBeGreaterThan(0)
      }
    }
  })

  it('a thousand keys: none is lost', async () => {
    const text = Array.from({ length: 1000 }, (_, index) => 'abcdefghij klmnop'[(index * 7) % 17]).join('')
    const delivery = await guest.keyboard.type(text, REQUIRE)
    expect(delivery).toMatchObject({ sent: 2000, seen: 2000, lost: 0, duplicated: 0, reordered: 0, stuck: [] })
  })

  it('every key of the table that browsers have a name for', async () => {
    const wrong: string[] = []
    for (const { qcode, code } of KEYS) {
      if (code === undefined || code === 'F11') continue
      const delivery = await guest.keyboard.press(qcode)
      if (delivery.outcome !== 'delivered') wrong.push(`${qcode}: ${delivery.differences.join('; ')}`)
    }
    expect(wrong).toEqual([])
    // A browser without a window gives it away; those of users do not.
    expect(await guest.keyboard.press('f11')).toMatchObject({
      outcome: 'unverified',
      reason: expect.stringContaining('F11'),
    })
  })

  it('chords and held keys', async () => {
    expect(await guest.keyboard.press('ctrl+alt+del', REQUIRE)).toMatchObject({ sent: 6, seen: 6 })
    await guest.keyboard.down('shift', REQUIRE)
    await guest.keyboard.press('f5', REQUIRE)
    expect(await guest.keyboard.up('shift', REQUIRE)).toMatchObject({ outcome: 'delivered' })
  })

  it('a key that is lost, doubled, exchanged or too many is told apart', async () => {
    damageAt(6, () => [])
    const lost = await guest.keyboard.type('abcdefgh')
    expect(lost).toMatchObject({ outcome: 'damaged', lost: 1, duplicated: 0, seen: 15 })
    expect(lost.differences.join()).toContain('KEY_D')

    damageAt(4, (event) => [event, event])
    expect(await guest.keyboard.type('abcdefgh')).toMatchObject({ outcome: 'damaged', lost: 0, duplicated: 1 })

    const held: InputEvent[] = []
    guest.path.damage = (event) => {
      if (event.type !== 'key' || !event.down || event.qcode === 'delete') return [event]
      held.push(event)
      return event.qcode === 'ctrl' ? [] : held.splice(0).toReversed()
    }
    const exchanged = await guest.keyboard.press('ctrl+alt+delete')
    expect(exchanged).toMatchObject({ outcome: 'damaged', lost: 0, duplicated: 0, reordered: 1 })

    const surplus: InputEvent[] = [true, false].map((down) => ({ type: 'key', qcode: 'x', down }))
    damageAt(4, (event) => [...surplus, event])
    const tooMany = await guest.keyboard.type('abcdefgh')
    expect(tooMany).toMatchObject({ outcome: 'damaged', lost: 0, duplicated: 2 })
    // Which key it was stays in the guest.
    expect(tooMany.differences.join()).not.toContain('KEY_X')
  })

  it('a page that loses the focus in the middle has a gap, and no lost keys', async () => {
    let uncover: (() => Promise<void>) | undefined
    const covered = Promise.withResolvers<void>()
    damageAt(20, (event) => {
      void guest.chromium.cover().then((opened) => {
        uncover = opened
        covered.resolve()
      })
      return [event]
    })
    const delivery = await guest.keyboard.type('the quick brown fox jumps over the lazy dog')
    await covered.promise
    expect(delivery).toMatchObject({ outcome: 'unverified', lost: 0, reason: expect.stringContaining('focus') })
    const without = [await guest.keyboard.type('abc'), await guest.mouse.click()]
    await uncover?.()
    for (const { outcome, reason } of without) expect(outcome, reason).toBe('unverified')
    expect(without.map(({ reason }) => reason).join()).toMatch(/keyboard focus.*hidden/s)
    await expect.poll(() => guest.chromium.evaluate('document.hasFocus()'), PATIENT).toBe(true)
    expect(await guest.keyboard.type('abc', REQUIRE)).toMatchObject({ outcome: 'delivered' })
  })

  it('positions, buttons and the wheel', async () => {
    const places = [
      [640, 400],
      [640, 400],
      [642, 401],
      [0, 0],
      [1279, 799],
    ] as const
    for (const [x, y] of places) expect(await guest.mouse.move(x, y, REQUIRE)).toMatchObject({ sent: 2, lost: 0 })
    for (const button of ['left', 'middle', 'right'] as const) {
      expect(await guest.mouse.click({ button, count: 2, verify: 'require' })).toMatchObject({ outcome: 'delivered' })
    }
    const drag = await guest.mouse.drag({ x: 100, y: 100 }, { x: 300, y: 103 }, REQUIRE)
    expect(drag).toMatchObject({ outcome: 'delivered', lost: 0 })
    // A place that is known to a pixel or so is no exact one.
    expect(drag).not.toHaveProperty('pointer')
    for (const notches of [3, -2]) {
      expect(await guest.mouse.scroll(notches, REQUIRE)).toMatchObject({
        sent: Math.abs(notches),
        outcome: 'delivered',
      })
    }
    guest.path.damage = (event) =>
      event.type === 'abs' ? [{ ...event, value: (event.value + 300) % 32_767 }] : [event]
    expect(await guest.mouse.move(100, 100)).toMatchObject({ outcome: 'damaged', lost: 2 })
  })

  it('a click that is verified presses no control of the page', async () => {
    const language = await guest.chromium.evaluate('document.documentElement.lang')
    const [x, y] = (await guest.chromium.evaluate(
      `(({ x, y, width, height }) => [x + width / 2, y + height / 2])(document.getElementById('language').getBoundingClientRect())`,
    )) as [number, number]
    await guest.mouse.click({ x, y, verify: 'require' })
    expect(await guest.chromium.evaluate('document.documentElement.lang')).toBe(language)
    await guest.mouse.click({ x, y, verify: 'off' })
    await guest.path.settled()
    expect(await guest.chromium.evaluate('document.documentElement.lang')).not.toBe(language)
  })

  it('a place outside the page is not verified: no page is told of the pointer there', async () => {
    await using part = await GuestBrowser.start(['--window-size=600,500', '--window-position=300,200'])
    await part.open()
    // Tells the page where on the screen it is.
    await part.mouse.move(100, 100)
    const delivery = await part.mouse.move(100, 100)
    expect(delivery).toMatchObject({ outcome: 'unverified', lost: 0, reason: expect.stringContaining('outside') })
  })

  it('relative motion is not verified: no browser tells it as it was sent', async () => {
    const delivery = await guest.mouse.moveBy(30, 10)
    expect(delivery).toMatchObject({ outcome: 'unverified', reason: expect.stringContaining('how far') })
  })
})
