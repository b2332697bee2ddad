import { afterEach, describe, expect, it } from 'vitest'
import { pollUntil, withDeadline } from '../../../framework/core/index.ts'
import { spiceServer } from '../../../framework/hosts/spice-carriers.ts'
import { DisplayState } from '../../../framework/protocols/spice/display/display-state.ts'
import { SpiceVmConnection } from '../../../framework/protocols/spice/index.ts'
import type { DisplayChannel } from '../../../framework/protocols/spice/channels/display.ts'
import { PictureServer, type ServerCompression } from '../../support/spice-server/picture-server.ts'
import { expectEqualThroughTwoModes, type ShownScreen } from '../../support/spice-server/two-modes.ts'

const TIMEOUT_MS = 180_000
const open: AsyncDisposable[] = []

afterEach(async () => {
  for (const resource of open.splice(0).toReversed()) await resource[Symbol.asyncDispose]()
})

interface Screen {
  server: PictureServer
  display: DisplayState
  channel: DisplayChannel
}

async function openScreen(compression: ServerCompression): Promise<Screen> {
  const server = await PictureServer.start({ compression })
  open.push(server)
  const connection = new SpiceVmConnection('vm', {
    server: spiceServer({ kind: 'tcp', host: '127.0.0.1', port: server.port, tlsPort: undefined }),
  })
  open.push({ [Symbol.asyncDispose]: () => connection.disconnectAll() })
  await connection.connectMainChannel()
  const channel = await connection.openChannel('display')
  const display = new DisplayState()
  channel.onMessage = (type, body) => display.handle(type, body)
  return { server, display, channel }
}

function shownBy(display: DisplayState): ShownScreen {
  return {
    async is(there) {
      await pollUntil(`a screen ${there ? 'to come' : 'to go'}`, { timeoutMs: 10_000 }, async () =>
        (there ? display.isMarked : !display.primary) ? true : undefined,
      )
    },
    async shown(draw) {
      const { promise, resolve } = Promise.withResolvers<void>()
      display.onDamage = () => resolve()
      await draw()
      await withDeadline('the draw to arrive', { timeoutMs: 20_000 }, () => promise)
    },
    screenshot: async () => display.screenshot(),
  }
}

describe('a screen through two modes, as a real server sends it', () => {
  it.each([
    ['off', 'bitmap', 'off'],
    ['lz', 'lzRgb', 'lz'],
    ['lz4', 'lz4', 'off'],
    ['glz', 'glzRgb', 'glz'],
  ] as const)(
    '%s: no pixel differs from what QEMU shows',
    { timeout: TIMEOUT_MS },
    async (wanted, type, compression) => {
      const { server, display, channel } = await openScreen(compression)
      if (wanted === 'lz4') await channel.preferCompression('lz4')
      await expectEqualThroughTwoModes(server, shownBy(display))
      // Noise does not get smaller, and goes as it is.
      expect(display.counters.images[type]).toBeGreaterThanOrEqual(30)
    },
  )
})
