/** Many SPICE sessions of one process, and displays that are given up at any moment. */
import { expect, it } from 'vitest'
import { pollUntil } from '../../framework/core/index.ts'
import { spiceServer } from '../../framework/hosts/spice-carriers.ts'
import {
  DisplayPicture,
  SpiceConnectionManager,
  SpiceVmConnection,
  type SpiceServer,
} from '../../framework/protocols/spice/index.ts'
import { drawBitmap } from '../support/spice-server/picture.ts'
import { PictureServer } from '../support/spice-server/picture-server.ts'
import { samplePicture, toBitmap } from '../support/spice-server/sample-pictures.ts'
import { differingPixels } from '../support/spice-server/two-modes.ts'

const VMS = 50
const DISPLAYS = 200
const LONGEST_MS = 40
const log = (text: string) => void process.stderr.write(`${text}\n`)

const consoleOf = ({ port }: PictureServer): SpiceServer =>
  spiceServer({ kind: 'tcp', host: '127.0.0.1', port, tlsPort: undefined })

it(`${DISPLAYS} displays are opened and given up at random moments; QEMU lives`, async () => {
  await using server = await PictureServer.start({ compression: 'off' })
  await server.card.createPrimary(320, 200)
  const connection = new SpiceVmConnection('vm', { server: consoleOf(server), reconnect: false })
  try {
    await connection.connectMainChannel()
    let opened = 0
    for (let round = 0; round < DISPLAYS; round++) {
      const stop = new AbortController()
      setTimeout(() => stop.abort(), Math.random() * LONGEST_MS)
      await connection.openChannel('display', { signal: stop.signal }).then(
        () => opened++,
        (error: unknown) => expect(error).toMatchObject({ code: 'ATP_INTERRUPTED' }),
      )
      await connection.closeChannel('display')
    }
    log(`${opened} of ${DISPLAYS} displays were open before they were given up`)
    await connection.disconnectAll()
    expect((await server.screendump()).width).toBe(320)
    await connection.connectMainChannel()
  } finally {
    await connection.disconnectAll()
  }
})

it(`${VMS} VMs with main, inputs and display from one process`, async () => {
  await using stack = new AsyncDisposableStack()
  const servers: PictureServer[] = []
  for (let index = 0; index < VMS; index++) {
    const server = stack.use(await PictureServer.start({ compression: index % 2 === 0 ? 'lz' : 'quic' }))
    await server.card.createPrimary(640, 480)
    servers.push(server)
  }
  const manager = new SpiceConnectionManager()
  stack.defer(() => manager.close())
  const rssBytes = process.memoryUsage.rss()
  const startedMs = performance.now()
  const pictures = await Promise.all(
    servers.map(async (server, index) => {
      const connection = await manager.addVm(`vm-${index}`, { server: consoleOf(server) })
      await connection.openChannel('inputs')
      let picture: DisplayPicture | undefined
      await connection.openChannel('display', { prepare: (channel) => (picture = new DisplayPicture(channel)) })
      return picture as DisplayPicture
    }),
  )
  log(`${VMS} sessions opened in ${Math.round(performance.now() - startedMs)} ms`)
  const desktop = toBitmap(samplePicture('desktop', 640, 480), 'rgb32')
  await Promise.all(servers.map((server) => drawBitmap(server.card, desktop)))
  for (const [index, server] of servers.entries()) {
    const picture = pictures[index] as DisplayPicture
    await pollUntil(`the picture of vm-${index}`, { timeoutMs: 60_000 }, async () => {
      return (await differingPixels(server, await picture.screenshot())) === 0 || undefined
    })
  }
  log(`${Math.round((process.memoryUsage.rss() - rssBytes) / VMS / 1024)} KiB of memory for each`)
  const channels = manager.vmIds.flatMap((vmId) => manager.getVmConnection(vmId).channels)
  expect(channels.map(({ state }) => state)).toEqual(Array(3 * VMS).fill('open'))
  expect(new Set(channels.map(({ statistics }) => statistics.connections))).toEqual(new Set([1]))
})
