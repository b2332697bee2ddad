import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { resolve } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { browserBundle } from '../../../guest/web/bundle.ts'
import { HeadlessChromium, missingChromium } from '../../support/headless-chromium.ts'
import { ConsoleServer } from '../../support/spice-server/console-server.ts'
import { PictureServer } from '../../support/spice-server/picture-server.ts'
import { expectEqualThroughTwoModes, type ShownScreen } from '../../support/spice-server/two-modes.ts'

const CLIENT = resolve(import.meta.dirname, '../../support/spice-server/browser-client.ts')
const TIMEOUT_MS = 120_000
const PAGE = `<!doctype html><script type="module">
import * as client from '/client.js'
globalThis.client = client
</script>`

interface Screenshot {
  width: number
  height: number
  data: Uint32Array
}

let chromium: HeadlessChromium
let pages: Server
let screenshot: Screenshot | undefined

const missing = missingChromium()
describe('the client in a browser', { timeout: TIMEOUT_MS }, () => {
  beforeEach(({ skip }) => skip(missing !== undefined, missing))
  beforeAll(async () => {
    if (missing) return
    const code = await browserBundle(CLIENT)
    pages = createServer((request, response) => {
      if (request.url === '/client.js') response.setHeader('content-type', 'text/javascript').end(code)
      else if (request.method === 'POST') void take(request).then(() => response.end())
      else response.setHeader('content-type', 'text/html').end(PAGE)
    }).listen(0, '127.0.0.1')
    await once(pages, 'listening')
    chromium = await HeadlessChromium.start()
    // Encryption is there for pages of this machine only.
    await chromium.open(`http://127.0.0.1:${(pages.address() as AddressInfo).port}/`)
  })

  afterAll(async () => {
    await chromium?.[Symbol.asyncDispose]()
    pages?.closeAllConnections()
    pages?.close()
  })

  it.each([
    ['off', 'bitmap', 'off'],
    ['lz', 'lzRgb', 'lz'],
    ['lz4', 'lz4', 'off'],
    ['glz', 'glzRgb', 'glz'],
    ['quic', 'quic', 'quic'],
  ] as const)('%s over ws://: no pixel differs from what QEMU shows', async (wanted, type, compression) => {
    const server = await PictureServer.start({ compression })
    onTestFinished(() => server[Symbol.asyncDispose]())
    await chromium.evaluate(`client.open(${server.port}, '', ${wanted === 'lz4' ? "'lz4'" : undefined})`)
    await expectEqualThroughTwoModes(server, screen, ['text', 'photo', 'desktop'])
    const images = (await chromium.evaluate('client.images()')) as Record<string, number>
    expect(images[type]).toBeGreaterThanOrEqual(15)
    await chromium.evaluate('client.close()')
  })

  it('is let in with a ticket, and its keys arrive', async () => {
    const server = await ConsoleServer.start({ ticket: '密码' })
    onTestFinished(() => server[Symbol.asyncDispose]())
    await expect(chromium.evaluate(`client.open(${server.port}, 'wrong')`)).rejects.toThrow(/password/)
    await chromium.evaluate(`client.open(${server.port}, '密码')`)
    await chromium.evaluate('client.pressKey(0x1e)')
    expect(await server.keyboardBytes(3)).toEqual([0x1c, 0xf0, 0x1c])
    await chromium.evaluate('client.close()')
  })
})

const screen: ShownScreen = {
  async is(there) {
    await chromium.evaluate(`client.screenIs(${there})`)
  },
  async shown(draw) {
    await chromium.evaluate('client.expectChange()')
    await draw()
    await chromium.evaluate('client.changed()')
  },
  async screenshot() {
    screenshot = undefined
    await chromium.evaluate('client.sendScreenshot()')
    if (!screenshot) throw new Error('the browser sent no screenshot')
    return screenshot
  },
}

async function take(request: IncomingMessage): Promise<void> {
  const { searchParams } = new URL(request.url as string, 'http://localhost')
  const bytes = Uint8Array.from(await buffer(request))
  const [width, height] = ['width', 'height'].map((name) => Number(searchParams.get(name))) as [number, number]
  screenshot = { width, height, data: new Uint32Array(bytes.buffer) }
}
