import { createHash } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { pollUntil, withDeadline } from '../../../framework/core/index.ts'
import { spiceServer } from '../../../framework/hosts/spice-carriers.ts'
import { DisplayState } from '../../../framework/protocols/spice/display/display-state.ts'
import { SpiceVmConnection } from '../../../framework/protocols/spice/index.ts'
import { CASE_SCREEN, drawCases } from '../../support/spice-server/draw-cases.ts'
import { drawBitmap } from '../../support/spice-server/picture.ts'
import { PictureServer } from '../../support/spice-server/picture-server.ts'
import { samplePicture, toBitmap } from '../../support/spice-server/sample-pictures.ts'
import { RECORDED_DRAWS, type RecordedDraw } from '../../unit/spice/display/recorded-draws.ts'

let server: PictureServer
let connection: SpiceVmConnection
const display = new DisplayState()
const cases = drawCases()
/** `UPDATE_RECORDED=1` writes what the unit tests replay. */
const recorded: RecordedDraw[] = []
let arrived: { type: number; body: Uint8Array }[] = []
let onDraw: (() => void) | undefined
let failure: unknown

beforeAll(async () => {
  server = await PictureServer.start({ compression: 'off' })
  connection = new SpiceVmConnection('vm', {
    server: spiceServer({ kind: 'tcp', host: '127.0.0.1', port: server.port, tlsPort: undefined }),
  })
  await connection.connectMainChannel()
  const channel = await connection.openChannel('display')
  channel.onMessage = (type, body) => {
    arrived.push({ type, body: new Uint8Array(body) })
    try {
      display.handle(type, body)
    } catch (error) {
      failure = error
    }
    if (type === 104 || (type >= 302 && type <= 318 && type !== 317)) onDraw?.()
  }
  const { width, height } = CASE_SCREEN
  await server.card.createPrimary(width, height)
  await pollUntil('a screen', { timeoutMs: 10_000 }, async () => (display.isMarked ? true : undefined))
})

afterAll(async () => {
  await connection?.disconnectAll()
  await server?.[Symbol.asyncDispose]()
  if (process.env['UPDATE_RECORDED'] === '1' && recorded.length === cases.length + 1) {
    await writeFile(RECORDED_DRAWS, gzipSync(JSON.stringify(recorded)))
  }
})

/** Draws, waits until the client has it, and compares. */
async function shown(name: string, draw: () => Promise<void>): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  onDraw = resolve
  arrived = []
  failure = undefined
  await draw()
  await withDeadline('the draw to arrive', { timeoutMs: 20_000 }, () => promise)
  expect(failure).toBeUndefined()
  const there = await server.screendump()
  const seen = display.screenshot()
  const differing = seen.data.filter((pixel, index) => pixel !== there.data[index]).length
  expect(differing, name).toBe(0)
  const sha256 = createHash('sha256').update(new Uint8Array(there.data.buffer)).digest('hex')
  const [message] = arrived
  expect(arrived).toHaveLength(1)
  if (message) recorded.push({ name, type: message.type, body: Buffer.from(message.body).toString('base64'), sha256 })
}

describe('draw operations as a real server draws them', () => {
  it('a ground', async () => {
    const { width, height } = CASE_SCREEN
    const ground = toBitmap(samplePicture('photo', width, height), 'rgb32')
    await shown('ground', () => drawBitmap(server.card, ground))
  })

  it.each(cases)('$name', async ({ name, draw }) => {
    await shown(name, () => draw(server.card))
  })
})
