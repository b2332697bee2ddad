/** What the page of a browser runs: a session over a WebSocket, and the picture of its display. */
import {
  DisplayPicture,
  Secret,
  SpiceVmConnection,
  webSocketCarrier,
} from '../../../framework/protocols/spice/index.ts'

let connection: SpiceVmConnection | undefined
let picture: DisplayPicture | undefined
let change: Promise<void> | undefined

/** Opens the display of a server; with a compression, asks for it. */
export async function open(port: number, password: string, compression?: 'lz4'): Promise<void> {
  await connection?.disconnectAll()
  const server = {
    name: 'console',
    open: webSocketCarrier(`ws://127.0.0.1:${port}/`),
    credentials: { password: new Secret('console', password) },
  }
  connection = new SpiceVmConnection('vm', { server })
  await connection.connectMainChannel()
  const display = await connection.openChannel('display', {
    prepare: (channel) => (picture = new DisplayPicture(channel)),
  })
  if (compression) await display.preferCompression(compression)
}

/** Opens the inputs, presses a key and releases it. */
export async function pressKey(scancode: number): Promise<void> {
  const inputs = await connection?.openChannel('inputs')
  await inputs?.keyDown(scancode)
  await inputs?.keyUp(scancode)
}

/** Resolves when the display has a screen, or none. */
export async function screenIs(there: boolean): Promise<void> {
  while ((picture?.size !== undefined) !== there) await picture?.changed()
}

/** Notes that a change is expected; {@link changed} waits for it. */
export function expectChange(): void {
  change = picture?.changed()
}

export async function changed(): Promise<void> {
  await change
}

/** Hands the picture to the server that the page came from. */
export async function sendScreenshot(): Promise<void> {
  const seen = await picture?.screenshot()
  if (!seen) throw new Error('there is no picture')
  const body = seen.data.slice().buffer
  await fetch(`/screenshot?width=${seen.width}&height=${seen.height}`, { method: 'POST', body })
}

/** How many images of each type came. */
export function images(): Record<string, number> {
  return picture?.counters.images ?? {}
}

export async function close(): Promise<void> {
  await connection?.disconnectAll()
}
