import { once } from 'node:events'
import { createServer, request, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { readFileSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { KEYS } from '../../../framework/keys/index.ts'
import { serveWebPage } from '../../../framework/verify/server/web-page.ts'
import { evdevCodeOf } from '../../../guest/web/key-codes.ts'
import { PageClock } from '../../../guest/web/page-clock.ts'
import { randomId } from '../../../guest/web/random-id.ts'
import { TEXTS } from '../../../guest/web/texts.ts'

const server = createServer((request, response) => {
  if (!serveWebPage(request, response)) response.writeHead(418).end('not the page')
})
beforeAll(async () => {
  await once(server.listen(0, '127.0.0.1'), 'listening')
})
afterAll(() => void server.close())

async function ask(
  path: string,
  { method = 'GET', host = 'guest.example:8765' } = {},
): Promise<IncomingMessage & { text: string }> {
  const { port } = server.address() as AddressInfo
  const asked = request({ port, host: '127.0.0.1', path, method, headers: { host } }).end()
  const [response] = (await once(asked, 'response')) as [IncomingMessage]
  return Object.assign(response, { text: await text(response) })
}

describe('the page is served', () => {
  it('with its files, and its script as one', async () => {
    const page = await ask('/verifier/?v=1')
    expect(page.headers['content-type']).toBe('text/html; charset=utf-8')
    const files = [...page.text.matchAll(/(?:href|src)="([^"]+)"/g)].map(([, name]) => name)
    expect(files).toEqual(['data:,', 'style.css', 'agent.js'])
    expect((await ask('/verifier/style.css')).headers['content-type']).toBe('text/css; charset=utf-8')
    const script = await ask('/verifier/agent.js')
    expect(script.headers['content-type']).toBe('text/javascript; charset=utf-8')
    expect(script.text).not.toMatch(/^import /m)
    expect(script.text).toContain('客户机验证器')
  })

  it('isolated, for its own scripts and its own server', async () => {
    const { headers } = await ask('/verifier/')
    expect(headers).toMatchObject({
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-embedder-policy': 'require-corp',
      'referrer-policy': 'no-referrer',
      'x-content-type-options': 'nosniff',
      'cache-control': 'no-store',
    })
    const policy = headers['content-security-policy']
    expect(policy).toContain("default-src 'none'; script-src 'self'; style-src 'self'")
    expect(policy).toContain("connect-src 'self' ws://guest.example:8765 wss://guest.example:8765;")
    const injected = (await ask('/verifier/', { host: 'x; script-src *' })).headers['content-security-policy']
    expect(injected).toContain("connect-src 'self';")
    expect((await ask('/verifier/', { host: '[::1]:8765' })).headers['content-security-policy']).toContain(
      'ws://[::1]:8765',
    )
  })

  it('and nothing else', async () => {
    expect(await ask('/')).toMatchObject({ statusCode: 418 })
    expect(await ask('/verifiers')).toMatchObject({ statusCode: 418 })
    expect((await ask('/verifier')).headers['location']).toBe('/verifier/')
    for (const path of [
      'main.ts',
      '../protocol/index.ts',
      '%2e%2e/package.json',
      'constructor',
      '__proto__',
      'index.html/',
    ]) {
      expect(await ask(`/verifier/${path}`)).toMatchObject({ statusCode: 404 })
    }
    expect(await ask('/verifier/', { method: 'POST' })).toMatchObject({ statusCode: 405 })
    const head = await ask('/verifier/', { method: 'HEAD' })
    expect([head.statusCode, head.text]).toEqual([200, ''])
    expect(Number(head.headers['content-length'])).toBeGreaterThan(1000)
  })
})

describe('what the page knows', () => {
  it('the evdev code of every key that browsers have a name for', () => {
    for (const { code, evdev } of KEYS) if (code !== undefined) expect(evdevCodeOf(code)).toBe(evdev.code)
    expect([evdevCodeOf(''), evdevCodeOf('Unidentified')]).toEqual([0, 0])
  })

  it('all its texts in both languages, and no text that it does not show', () => {
    expect(Object.keys(TEXTS.zh)).toEqual(Object.keys(TEXTS.en))
    const folder = new URL('../../../guest/web/', import.meta.url)
    const used = ['index.html', 'view.ts'].map((name) => readFileSync(new URL(name, folder), 'utf8')).join()
    const states = ['connecting', 'connected', 'waiting', 'refused', 'access', 'lost', 'seen', 'keyboard', 'mouse']
    for (const name of Object.keys(TEXTS.en))
      expect(states.includes(name) || used.includes(`${name}"`) || used.includes(`'${name}'`), name).toBe(true)
    for (const [, name] of used.matchAll(/data-text="(\w+)"/g)) expect(TEXTS.en).toHaveProperty(name as string)
  })

  it('its clock, and how coarse that is', () => {
    const clock = new PageClock()
    const { guest_ns, error_ns } = clock.read()
    expect(BigInt(guest_ns)).toBeLessThanOrEqual(clock.nowNs())
    expect(Number(error_ns)).toBe(2 * clock.stepNs)
    expect(clock.stepNs).toBeGreaterThan(0)
    expect(clock.stepNs).toBeLessThan(1_000_000)
  })

  it('ids of its own', () => {
    expect(randomId()).toMatch(/^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/)
    expect(randomId()).not.toBe(randomId())
  })
})
