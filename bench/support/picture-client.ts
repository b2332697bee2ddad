/** Our SPICE client in a process of its own; commands and answers are those of `spice-peer.py`, without its keys. */
import { createInterface } from 'node:readline'
import { pollUntil, Secret } from '../../framework/core/index.ts'
import { spiceServer } from '../../framework/hosts/spice-carriers.ts'
import { DisplayPicture, SpiceVmConnection, type DisplayChannel } from '../../framework/protocols/spice/index.ts'
import { DISPLAY_CLIENT } from '../../framework/protocols/spice/wire/numbers.ts'
import { hashOf, type PictureHash } from './picture-hash.ts'
import type { ConsoleAt } from './spice-side.ts'

type Command =
  | { connect: ConsoleAt }
  | { compression: number }
  | { pixel: [number, number, number] }
  | { cpu: true }
  | { picture: true }
  | { disconnect: true }

const LOOK_MS = 10
let connection: SpiceVmConnection | undefined
let display: DisplayPicture | undefined

/** Processor time of all threads, also of those that decode. */
function cpuUs(): number {
  const { user, system } = process.cpuUsage()
  return user + system
}

async function connect({ host, port, password, channels }: ConsoleAt): Promise<void> {
  const secret = new Secret('bench ticket', password)
  const server = spiceServer({ kind: 'tcp', host, port, tlsPort: undefined }, { ...(password && { password: secret }) })
  connection = new SpiceVmConnection('bench', { server, reconnect: false })
  await connection.connectMainChannel()
  if (!channels.includes('display')) return
  const prepare = (channel: DisplayChannel) => void (display = new DisplayPicture(channel))
  await connection.openChannel('display', { prepare })
}

async function shows([x, y, rgb]: readonly [number, number, number]): Promise<void> {
  const part = { left: x, top: y, right: x + 1, bottom: y + 1 }
  await pollUntil('a pixel', { timeoutMs: 60_000, intervalMs: LOOK_MS, maxIntervalMs: LOOK_MS }, async () => {
    const { size } = theDisplay()
    if (!size || x >= size.width || y >= size.height) return undefined
    const { data } = await theDisplay().screenshot({ part })
    return ((data[0] as number) & 0xffffff) === rgb ? true : undefined
  })
}

async function picture(): Promise<PictureHash> {
  const { counters } = theDisplay()
  const failed = Object.entries(counters.unsupported).map(([what, count]) => `${count} × ${what}`)
  if (failed.length > 0) throw new Error(`not drawn: ${failed.join(', ')}`)
  return hashOf(await theDisplay().screenshot())
}

function theDisplay(): DisplayPicture {
  if (!display) throw new Error('no display is open')
  return display
}

async function run(command: Command): Promise<unknown> {
  if ('connect' in command) await connect(command.connect)
  else if ('compression' in command) {
    const body = Uint8Array.of(command.compression)
    await connection?.getChannel('display')?.send(DISPLAY_CLIENT.preferredCompression, body)
  } else if ('pixel' in command) await shows(command.pixel)
  else if ('cpu' in command) return cpuUs()
  else if ('picture' in command) return await picture()
  else {
    await connection?.disconnectAll()
    display = undefined
  }
  return {}
}

process.stdout.write(`${JSON.stringify({ version: process.versions.node })}\n`)
for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await run(JSON.parse(line) as Command))}\n`)
}
