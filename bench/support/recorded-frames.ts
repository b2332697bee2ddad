import { pollUntil } from '../../framework/core/index.ts'
import { spiceServer } from '../../framework/hosts/spice-carriers.ts'
import { DisplayState } from '../../framework/protocols/spice/display/display-state.ts'
import { SpiceVmConnection, type DisplayChannel } from '../../framework/protocols/spice/index.ts'
import { DISPLAY_CLIENT, DISPLAY_SERVER } from '../../framework/protocols/spice/wire/numbers.ts'
import { PictureServer, type ServerCompression } from '../../tests/support/spice-server/picture-server.ts'
import type { Picture } from '../../tests/support/spice-server/sample-pictures.ts'
import { hashOf } from './picture-hash.ts'
import { frames, SCREEN } from './spice-workload.ts'

interface Message {
  type: number
  body: Uint8Array
}

/** What a server sent for some frames. */
export interface RecordedFrames {
  /** Makes the screen. */
  before: Message[]
  /** One draw of the whole screen each. */
  frames: Message[]
  /** Of the server's own screen after the last frame. */
  sha256: string
}

/** Has a real server send each of these pictures as a draw of the whole screen, and keeps its messages. */
export async function recordFrames(options: {
  compression: ServerCompression
  /** One of `IMAGE_COMPRESSION` to ask the server for. */
  asked: number | undefined
  pictures: readonly Picture[]
}): Promise<RecordedFrames> {
  const { compression, asked, pictures } = options
  await using server = await PictureServer.start({ compression })
  await server.card.createPrimary(SCREEN.width, SCREEN.height)
  const draw = await frames(server, pictures)
  const connection = new SpiceVmConnection('bench', {
    server: spiceServer({ kind: 'tcp', host: '127.0.0.1', port: server.port, tlsPort: undefined }),
    reconnect: false,
  })
  const messages: Message[] = []
  const drawsSoFar = () => messages.filter(({ type }) => type === DISPLAY_SERVER.drawCopy).length
  try {
    await connection.connectMainChannel()
    const prepare = (channel: DisplayChannel) => {
      channel.onMessage = (type, body) => void messages.push({ type, body: new Uint8Array(body) })
    }
    const display = await connection.openChannel('display', { prepare })
    if (asked !== undefined) await display.send(DISPLAY_CLIENT.preferredCompression, Uint8Array.of(asked))
    const marked = async () => (messages.some(({ type }) => type === DISPLAY_SERVER.mark) ? true : undefined)
    await pollUntil('the screen', { timeoutMs: 10_000 }, marked)
    const first = messages.length
    const drawn = drawsSoFar()
    for (let index = 1; index <= pictures.length; index++) {
      await draw()
      const arrived = async () => (drawsSoFar() - drawn >= index ? true : undefined)
      await pollUntil('a frame', { timeoutMs: 20_000, intervalMs: 2, maxIntervalMs: 10 }, arrived)
    }
    const { sha256 } = hashOf(await server.screendump())
    return { before: messages.slice(0, first), frames: messages.slice(first), sha256 }
  } finally {
    await connection.disconnectAll()
  }
}

/** Draws all frames, and takes the processor time of that. */
export function replay(recording: RecordedFrames): {
  cpuMs: number
  drawn: number
  failed: number
  sha256: string
} {
  const state = new DisplayState()
  for (const { type, body } of recording.before) state.handle(type, body)
  const before = process.cpuUsage()
  for (const { type, body } of recording.frames) state.handle(type, body)
  const { user, system } = process.cpuUsage(before)
  const { draws, unsupported } = state.counters
  const failed = Object.values(unsupported).reduce((sum, count) => sum + count, 0)
  const drawn = recording.frames.filter(({ type }) => type === DISPLAY_SERVER.drawCopy).length
  const known = recording.before.filter(({ type }) => type === DISPLAY_SERVER.drawCopy).length
  if ((draws['copy'] ?? 0) - known !== drawn) throw new Error('not all frames were drawn')
  return { cpuMs: (user + system) / 1000, drawn, failed, sha256: hashOf(state.screenshot()).sha256 }
}
