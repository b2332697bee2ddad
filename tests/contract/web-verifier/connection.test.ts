import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { once } from 'node:events'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { missingChromium } from '../../support/headless-chromium.ts'
import { GuestBrowser, TOKEN, VM } from '../../support/web-verifier/guest-browser.ts'

const PATIENT = { timeout: 10_000 }
const missing = missingChromium()
const KEY = { type: 'keyboard', action: 'press', key: 'a' } as const
const press = [true, false].map((down) => ({ type: 'key', qcode: 'a', down }) as const)

describe('the page and its server', { timeout: 120_000 }, () => {
  let guest: GuestBrowser
  let proxy: Server
  const cables = new Set<Socket>()

  beforeAll(async () => {
    if (missing) return
    guest = await GuestBrowser.start()
    // A network that can be cut.
    proxy = createServer((near) => {
      const far = connect(guest.port, '127.0.0.1')
      for (const socket of [near, far]) {
        cables.add(socket)
        socket.on('error', () => {}).on('close', () => cables.delete(socket))
      }
      near.pipe(far).pipe(near)
    }).listen(0, '127.0.0.1')
    await once(proxy, 'listening')
  })
  beforeEach(({ skip }) => skip(missing !== undefined, missing))
  afterEach(() => guest?.leave())
  afterAll(async () => {
    await guest?.[Symbol.asyncDispose]()
    proxy?.close()
  })

  const throughProxy = () => guest.address().replace(/:\d+\//, `:${(proxy.address() as AddressInfo).port}/`)
  const state = () => guest.chromium.evaluate('document.getElementById("state").dataset.state')

  it('says what it is, and keeps its token out of sight', async () => {
    await guest.open()
    expect(guest.link.agent).toMatchObject({
      vm_id: VM,
      level: 'browser',
      agent: { platform: 'browser', version: expect.stringMatching(/^\d/) },
      verifiers: ['keyboard', 'mouse', 'text'],
      reads_clock: true,
    })
    expect(await guest.chromium.evaluate('location.href')).toBe(`http://127.0.0.1:${guest.port}/verifier/`)
    const everything = 'document.documentElement.outerHTML + JSON.stringify([history.state, { ...localStorage }])'
    expect(await guest.chromium.evaluate(everything)).not.toContain(TOKEN)
    await expect.poll(state, PATIENT).toBe('connected')
  })

  it('has the fine clock, and tells how fine', async () => {
    await guest.open()
    expect(await guest.chromium.evaluate('crossOriginIsolated')).toBe(true)
    const { guestNs, errorNs } = await guest.link.now()
    expect(Number(errorNs)).toBeLessThanOrEqual(20_000)
    const nowMs = Number(await guest.chromium.evaluate('performance.now()'))
    expect(Number(guestNs) / 1e6).toBeLessThanOrEqual(nowMs)
    expect(Number(guestNs) / 1e6).toBeGreaterThan(nowMs - 5000)
  })

  it('is refused with a wrong token, does not try again, and takes the right one from its form', async () => {
    await guest.chromium.open(guest.address(VM, 'wrong'))
    await expect.poll(state, PATIENT).toBe('refused')
    expect(await guest.text('reason')).toContain('ATP_VERIFIER_TOKEN')
    await guest.chromium.evaluate(`document.getElementById('token').value = ${JSON.stringify(TOKEN)}`)
    await guest.chromium.evaluate('document.querySelector("form").requestSubmit()')
    await guest.link.ready({ timeoutMs: 10_000 })
    await expect.poll(state, PATIENT).toBe('connected')
  })

  it('comes back after a cut, and answers once what it was asked before', async () => {
    await guest.open(throughProxy())
    const session = guest.link.agent?.session
    const results: unknown[] = []
    const cut = Promise.withResolvers<void>()
    const result = guest.link.verify(
      { ...KEY, metadata: { timeout_ms: 20_000 } },
      {
        during: async () => {
          for (const cable of cables) cable.destroy()
          await expect.poll(() => guest.link.agent, PATIENT).toBeUndefined()
          cut.resolve()
        },
      },
    )
    result.then((each) => results.push(each), cut.reject)
    await cut.promise
    await expect.poll(() => guest.link.agent?.session, PATIENT).toBe(session)
    await guest.link.barrier()
    expect(results).toEqual([])
    await guest.path.inject(press)
    expect(await result).toMatchObject({ verified: true, details: { key: 'KEY_A' } })
    expect(await guest.keyboard.type('abc', { verify: 'require' })).toMatchObject({ lost: 0, duplicated: 0 })
  })

  it('a cut in the middle of an action makes it unverified', async () => {
    await guest.open(throughProxy())
    let count = 0
    guest.path.damage = (event) => {
      if (count++ === 20) for (const cable of cables) cable.destroy()
      return [event]
    }
    const delivery = await guest.keyboard.type('the quick brown fox jumps over the lazy dog')
    expect(delivery).toMatchObject({ outcome: 'unverified', lost: 0, reason: expect.stringContaining('gone') })
  })

  it('loads nothing from elsewhere, and may not', async () => {
    await guest.open()
    const loaded = (await guest.chromium.evaluate(
      'performance.getEntriesByType("resource").map(({ name }) => name)',
    )) as string[]
    expect(loaded.map((url) => new URL(url).pathname).toSorted()).toEqual(['/verifier/agent.js', '/verifier/style.css'])
    const elsewhere = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}/verifier/style.css`
    await expect(guest.chromium.evaluate(`fetch(${JSON.stringify(elsewhere)})`)).rejects.toThrow()
    const said =
      'new Promise((resolve) => addEventListener("securitypolicyviolation", (e) => resolve(e.effectiveDirective)))'
    const violated = guest.chromium.evaluate(said)
    await guest.chromium.evaluate(`void fetch(${JSON.stringify(elsewhere)}).catch(() => {})`)
    expect(await violated).toBe('connect-src')
  })

  it('fills the screen when its user asks for it, without its buttons', async () => {
    await guest.open()
    await expect.poll(state, PATIENT).toBe('connected')
    const place = 'document.getElementById("fullscreen").getBoundingClientRect()'
    const [x, y] = (await guest.chromium.evaluate(`[${place}.x + 5, ${place}.y + 5]`)) as [number, number]
    await guest.mouse.click({ x, y, verify: 'off' })
    await expect.poll(() => guest.chromium.evaluate('document.fullscreenElement?.tagName'), PATIENT).toBe('HTML')
    await expect.poll(() => guest.chromium.evaluate(`${place}.width`), PATIENT).toBe(0)
    expect(await guest.keyboard.press('a', { verify: 'require' })).toMatchObject({ lost: 0 })
    await guest.chromium.evaluate('document.exitFullscreen()')
  })

  it('speaks Chinese and English', async () => {
    await guest.open()
    const title = () =>
      guest
        .text('controls')
        .then(async (controls) => [
          await guest.chromium.evaluate('document.title'),
          controls.replace(/\s+/g, ' ').trim(),
        ])
    const click = () => guest.chromium.evaluate('document.getElementById("language").click()')
    expect(await title()).toEqual(['ATP guest verifier', 'Full screen 中文'])
    await click()
    expect(await title()).toEqual(['ATP 客户机验证器', '全屏 English'])
    const texts = 'Array.from(document.querySelectorAll("[data-text]"), (each) => each.textContent).join()'
    expect(await guest.chromium.evaluate(texts)).not.toMatch(/\b(seen|lost|Keyboard)\b/)
    await click()
  })
})
