import { execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { SpiceSession } from '../../../framework/desktop/spice-session.ts'
import { SpiceVmConnection } from '../../../framework/protocols/spice/index.ts'
import { freePorts } from '../../support/remote-host/free-ports.ts'
import { ConsoleServer } from '../../support/spice-server/console-server.ts'

const run = promisify(execFile)
const installed = ['ffmpeg', 'ffprobe'].every((program) => spawnSync(program, ['-version']).status === 0)

let server: ConsoleServer
let folder: string

beforeAll(async () => {
  server = await ConsoleServer.start()
  folder = await mkdtemp(join(tmpdir(), 'stream %d 屏幕 '))
})
afterAll(async () => {
  await server?.[Symbol.asyncDispose]()
  await rm(folder, { recursive: true, force: true })
})

async function session(): Promise<SpiceSession> {
  const connection = new SpiceVmConnection('vm', { server: server.server() })
  onTestFinished(() => connection.disconnectAll())
  await connection.connectMainChannel()
  return new SpiceSession('vm', connection)
}

/** What a player sees of it: codec, size, number of pictures. */
async function probe(file: string): Promise<Record<string, unknown>> {
  const args = ['-v', 'error', '-count_frames', '-select_streams', 'v:0', '-show_streams', '-of', 'json', file]
  const { stdout } = await run('ffprobe', args)
  return JSON.parse(stdout).streams[0]
}

describe('a screen is streamed', () => {
  beforeEach(({ skip }) => skip(!installed, 'ffmpeg is not installed: apt-get install ffmpeg'))
  it('to a folder, whose name may be any, as a playlist that players read', async () => {
    const spice = await session()
    const hls = join(folder, '-hls')
    const figures = await spice.stream({ to: { hls }, forMs: 3000, framesPerS: 5 })
    expect(figures.frames).toBeGreaterThan(5)
    expect(await readdir(hls)).toContain('index.m3u8')
    expect(await readFile(join(hls, 'index.m3u8'), 'utf8')).toContain('#EXT-X-ENDLIST')
    const stream = await probe(join(hls, 'index.m3u8'))
    expect(stream).toMatchObject({ codec_name: 'h264', width: figures.width, height: figures.height })
    expect(Number(stream['nb_read_frames'])).toBeGreaterThan(5)
    const { width, height } = (await spice.picture()).size ?? { width: 0, height: 0 }
    expect([figures.width, figures.height]).toEqual([width + (width & 1), height + (height & 1)])
  })

  it('to an RTSP server, until it is stopped', async () => {
    const [port] = await freePorts(1)
    const url = `rtsp://127.0.0.1:${port}/screen`
    const file = join(folder, 'received.ts')
    const args = ['-v', 'error', '-rtsp_flags', 'listen', '-i', url, '-c', 'copy', '-y', file]
    const peer = spawn('ffmpeg', args, { stdio: 'ignore' })
    const gone = once(peer, 'exit')
    onTestFinished(async () => {
      peer.kill('SIGKILL')
      await gone
    })
    const spice = await session()
    const stop = new AbortController()
    const stopped = setTimeout(() => stop.abort(), 5000)
    onTestFinished(() => clearTimeout(stopped))
    // It refuses until it listens.
    const attempt = () => spice.stream({ to: { rtsp: url }, framesPerS: 5, stop: stop.signal })
    const figures = await attempt().catch(() => attempt())
    expect(figures.frames).toBeGreaterThan(2)
    await gone
    expect(await probe(file)).toMatchObject({ codec_name: 'h264', width: figures.width })
  })

  it('not to where nobody listens: ffmpeg says why', async () => {
    const [port] = await freePorts(1)
    await expect(
      (await session()).stream({ to: { rtsp: `rtsp://127.0.0.1:${port}/x` }, forMs: 9000 }),
    ).rejects.toMatchObject({ code: 'ATP_SPICE_STREAM_FAILED', message: expect.stringContaining('refused') })
  })
})

it('targets and rates that cannot be are refused', async () => {
  const spice = await session()
  for (const rtsp of ['http://127.0.0.1/x', 'rtsp://', '-y', 'x; true']) {
    await expect(spice.stream({ to: { rtsp } })).rejects.toMatchObject({ code: 'ATP_SPICE_STREAM_TARGET' })
  }
  const file = join(folder, 'a file')
  await writeFile(file, '')
  await expect(spice.stream({ to: { hls: file } })).rejects.toMatchObject({ code: 'ATP_SPICE_STREAM_TARGET' })
  await expect(spice.stream({ to: { hls: folder }, framesPerS: 0 })).rejects.toMatchObject({
    code: 'ATP_SPICE_STREAM_RATE',
  })
})

it('without ffmpeg the error has the command that installs it', async () => {
  const spice = await session()
  const path = process.env['PATH']
  process.env['PATH'] = folder
  onTestFinished(() => void (process.env['PATH'] = path))
  await expect(spice.stream({ to: { hls: join(folder, 'none') } })).rejects.toMatchObject({
    code: 'ATP_SPICE_STREAM_PROGRAM',
    message: expect.stringContaining('apt-get install'),
  })
})
