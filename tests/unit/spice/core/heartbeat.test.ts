import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import type { SpiceChannel } from '../../../../framework/protocols/spice/channel.ts'
import { Heartbeat } from '../../../../framework/protocols/spice/heartbeat.ts'
import { SpiceVmConnection } from '../../../../framework/protocols/spice/index.ts'
import { SpiceWriter } from '../../../../framework/protocols/spice/wire/writer.ts'
import { greetAsMain, StandIn } from './stand-in.ts'

const INTERVAL_MS = 1000

beforeEach(() => void vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] }))
afterEach(() => void vi.useRealTimers())

/** What a channel tells of itself, and what was made of it. */
function watched(channel: Partial<Pick<SpiceChannel, 'state' | 'liveness' | 'hasHeartbeat' | 'heartbeat'>>) {
  const all = { state: 'open', hasHeartbeat: false, place: 'vm', heartbeat: async () => {}, ...channel }
  const lost: string[] = []
  const heartbeat = new Heartbeat(
    {
      channels: [all as unknown as SpiceChannel],
      silent: (_, error) => void lost.push((error as Error & { code: string }).code),
    },
    INTERVAL_MS,
  )
  heartbeat.start()
  return { lost, heartbeat, channel: all }
}

it('a display whose server pings it every 15 seconds is silent after two that did not come', () => {
  const { lost, channel } = watched({ liveness: { silentMs: 29_999, pingGapMs: 15_000 } })
  vi.advanceTimersByTime(INTERVAL_MS)
  expect(lost).toEqual([])
  channel.liveness = { silentMs: 30_001, pingGapMs: 15_000 }
  vi.advanceTimersByTime(INTERVAL_MS)
  expect(lost).toEqual(['ATP_SPICE_SILENT'])
})

it('of a channel that is not pinged, not open, or not connected nothing is expected', () => {
  const channels = [
    { liveness: { silentMs: 1e9, pingGapMs: 0 } },
    { state: 'lost', liveness: { silentMs: 1e9, pingGapMs: 1 } },
    { liveness: undefined },
  ] as const
  for (const channel of channels) {
    const { lost } = watched(channel)
    vi.advanceTimersByTime(3 * INTERVAL_MS)
    expect(lost).toEqual([])
  }
})

it('one that can be asked is asked, once at a time, and only when it said nothing', async () => {
  let answer = Promise.withResolvers<void>()
  const heartbeat = vi.fn(() => answer.promise)
  const { lost, channel } = watched({ liveness: { silentMs: 10, pingGapMs: 0 }, hasHeartbeat: true, heartbeat })
  vi.advanceTimersByTime(2 * INTERVAL_MS)
  expect(heartbeat).not.toHaveBeenCalled()
  channel.liveness = { silentMs: INTERVAL_MS, pingGapMs: 0 }
  vi.advanceTimersByTime(3 * INTERVAL_MS)
  expect(heartbeat).toHaveBeenCalledExactlyOnceWith(INTERVAL_MS)
  answer.resolve()
  await answer.promise
  await Promise.resolve()
  answer = Promise.withResolvers()
  vi.advanceTimersByTime(INTERVAL_MS)
  expect(heartbeat).toHaveBeenCalledTimes(2)
  answer.reject(Object.assign(new Error('no answer'), { code: 'ATP_SPICE_SILENT' }))
  await vi.waitFor(() => expect(lost).toEqual(['ATP_SPICE_SILENT']))
})

it('one that was lost before it answered is left alone: it may be on its way back', async () => {
  const answer = Promise.withResolvers<void>()
  const { lost, channel } = watched({
    liveness: { silentMs: INTERVAL_MS, pingGapMs: 0 },
    hasHeartbeat: true,
    heartbeat: () => answer.promise,
  })
  vi.advanceTimersByTime(INTERVAL_MS)
  channel.state = 'connecting'
  answer.reject(new Error('lost'))
  await new Promise((resolve) => setImmediate(resolve))
  expect(lost).toEqual([])
})

it('it ends, and 0 is none', () => {
  const liveness = { silentMs: 1e9, pingGapMs: 1 }
  const { lost, heartbeat } = watched({ liveness })
  heartbeat.stop()
  const none = new Heartbeat({ channels: [{ state: 'open', liveness } as never], silent: () => lost.push('none') }, 0)
  none.start()
  vi.advanceTimersByTime(100 * INTERVAL_MS)
  expect(lost).toEqual([])
})

it('a channel knows when its server last spoke, and how far its pings are apart', async () => {
  const standIn = new StandIn()
  const connection = new SpiceVmConnection('vm', { server: standIn.server, heartbeatMs: 0, reconnect: false })
  const opening = connection.connectMainChannel()
  const server = await standIn.channel()
  greetAsMain(server)
  const main = await opening
  const ping = async () => {
    server.send(4, new SpiceWriter().u32(1).u64(2n).finish())
    const pong = 3
    while ((await server.next()).type !== pong);
  }
  await ping()
  // The second of a pair, where the answer to the first took long.
  vi.advanceTimersByTime(3000)
  await ping()
  expect(main.liveness).toEqual({ silentMs: 0, pingGapMs: 0 })
  vi.advanceTimersByTime(15_000)
  expect(main.liveness).toEqual({ silentMs: 15_000, pingGapMs: 0 })
  await ping()
  vi.advanceTimersByTime(5)
  await ping()
  expect(main.liveness).toEqual({ silentMs: 0, pingGapMs: 15_000 })
  const release = main.hold()
  vi.advanceTimersByTime(60_000)
  // Nothing can come while nothing is read.
  expect(main.liveness?.silentMs).toBe(0)
  release()
  expect(main.liveness?.silentMs).toBe(0)
  await connection.disconnectAll()
  expect(main.liveness).toBeUndefined()
})
