import { describe, expect, it, onTestFinished } from 'vitest'
import { pollUntil } from '../../../framework/core/index.ts'
import { SpiceSession } from '../../../framework/desktop/spice-session.ts'
import { spiceServer } from '../../../framework/hosts/spice-carriers.ts'
import { frameAgentMessage } from '../../../framework/protocols/spice/agent/framer.ts'
import { writeAnnouncement } from '../../../framework/protocols/spice/agent/messages.ts'
import { AGENT_MESSAGE } from '../../../framework/protocols/spice/agent/numbers.ts'
import { SpiceVmConnection } from '../../../framework/protocols/spice/index.ts'
import { SpiceWriter } from '../../../framework/protocols/spice/wire/writer.ts'
import { drawBitmap } from '../../support/spice-server/picture.ts'
import { PictureServer, type PictureServerOptions } from '../../support/spice-server/picture-server.ts'
import { samplePicture, toBitmap } from '../../support/spice-server/sample-pictures.ts'

async function open(options: Pick<PictureServerOptions, 'qemuArguments' | 'monitors'>) {
  const server = await PictureServer.start({ compression: 'off', ...options })
  onTestFinished(() => server[Symbol.asyncDispose]())
  const connection = new SpiceVmConnection('vm', {
    server: spiceServer({ kind: 'tcp', host: '127.0.0.1', port: server.port, tlsPort: undefined }),
  })
  await connection.connectMainChannel()
  const session = new SpiceSession('vm', connection)
  onTestFinished(() => session.close())
  return { server, session }
}

/** Waits until a screen shows what QEMU has. */
async function same(
  session: SpiceSession,
  display: number,
  there: () => Promise<{ data: Uint32Array }>,
): Promise<void> {
  await pollUntil(`display ${display}`, { timeoutMs: 20_000 }, async () => {
    const screen = await session.screen({ display })
    const [seen, wanted] = [await screen.picture(), await there()]
    return seen.data.length === wanted.data.length && seen.data.every((pixel, at) => pixel === wanted.data[at])
      ? true
      : undefined
  })
}

describe('a VM with two graphics cards', () => {
  it('has a display of its own for each: no pixel differs', async () => {
    const { server, session } = await open({
      qemuArguments: ['-device', 'qxl,id=second,ram_size_mb=64,vram_size_mb=16,vgamem_mb=16'],
    })
    const second = await server.secondCard()
    await server.card.createPrimary(320, 200)
    await second.createPrimary(400, 150)
    await drawBitmap(server.card, toBitmap(samplePicture('photo', 320, 200), 'rgb32'))
    await drawBitmap(second, toBitmap(samplePicture('desktop', 400, 150), 'rgb32'))
    expect(session.main.channels.filter(({ type }) => type === 'display').map(({ id }) => id)).toEqual([1, 0])
    await same(session, 0, () => server.screendump())
    await same(session, 1, () => server.screendump('second'))
    const screen = await session.screen({ display: 1 })
    expect(await screen.picture()).toMatchObject({ width: 400, height: 150 })
  })
})

const AGENT_MONITORS = [
  { width: 800, height: 600 },
  { width: 1024, height: 768, x: 800, y: 0 },
]

describe('monitors that a client asks for', () => {
  it('reach the driver of the card, which a guest with a driver follows', async () => {
    const { server, session } = await open({
      monitors: 4,
      // A serial port has its guest's end open from the beginning.
      qemuArguments: ['-chardev', 'spicevmc,id=agent,name=vdagent', '-device', 'isa-serial,chardev=agent'],
    })
    await server.card.createPrimary(500, 200)
    await server.card.followClientMonitors()
    await pollUntil('the agent', { timeoutMs: 10_000 }, async () => session.main.agentConnected || undefined)
    const asked = session.agent.setMonitors(AGENT_MONITORS, { timeoutMs: 20_000 })
    const words = frameAgentMessage(AGENT_MESSAGE.announceCapabilities, writeAnnouncement(false, ['monitorsConfig']))
    await server.say(new SpiceWriter().u32(1).u32(words.length).bytes(words).finish())
    await asked
    const seen = await pollUntil('the monitors', { timeoutMs: 10_000 }, async () => {
      const monitors = await server.card.clientMonitors()
      return monitors.length === 2 ? monitors : undefined
    })
    expect(seen).toEqual([{ x: 0, y: 0, width: 800, height: 600 }, AGENT_MONITORS[1]])
  })
})

describe('a VM with one graphics card for its monitors', () => {
  it('has them as parts of one screen, which may change', async () => {
    const { server, session } = await open({ monitors: 4 })
    await server.card.createPrimary(500, 200)
    await drawBitmap(server.card, toBitmap(samplePicture('photo', 500, 200), 'rgb32'))
    await server.card.setMonitors([
      { x: 0, y: 0, width: 300, height: 200 },
      { x: 300, y: 10, width: 200, height: 180 },
    ])
    // Also where nobody has looked at the screen before.
    const screen = await session.screen({ display: 1 })
    const picture = await session.picture()
    const heads = (count: number) =>
      pollUntil(`${count} monitors`, { timeoutMs: 10_000 }, async () =>
        picture.monitors?.heads.length === count ? picture.monitors : undefined,
      )
    expect(await heads(2)).toMatchObject({ maxAllowed: 2, heads: [{ width: 300 }, { x: 300, y: 10, height: 180 }] })
    const part = async () => {
      const whole = await server.screendump()
      const rows = Array.from({ length: 180 }, (_, y) => whole.data.slice((y + 10) * 500 + 300, (y + 11) * 500))
      return { data: Uint32Array.from(rows.flatMap((row) => [...row])) }
    }
    await same(session, 1, part)
    expect(await screen.picture()).toMatchObject({ width: 200, height: 180 })
    await expect(session.screen({ display: 2 })).rejects.toMatchObject({ code: 'ATP_SPICE_NO_CHANNEL' })
    await server.card.setMonitors([{ x: 0, y: 0, width: 500, height: 200 }])
    await heads(1)
    await expect(screen.picture()).rejects.toMatchObject({ code: 'ATP_SPICE_MONITOR_GONE' })
  })
})
