import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { SpiceSound, SpiceVmConnection } from '../../../framework/protocols/spice/index.ts'
import { ALL_DEVICES, ConsoleServer } from '../../support/spice-server/console-server.ts'

let server: ConsoleServer

beforeAll(async () => {
  server = await ConsoleServer.start({ qemuArguments: ALL_DEVICES })
})
afterAll(() => server?.[Symbol.asyncDispose]())

async function connect(): Promise<SpiceVmConnection> {
  const connection = new SpiceVmConnection('vm', { server: server.server() })
  onTestFinished(() => connection.disconnectAll())
  await connection.connectMainChannel()
  return connection
}

it('a guest that sleeps plays and records nothing', async () => {
  const sound = new SpiceSound(await connect())
  expect(await sound.listen({ forMs: 50 })).toMatchObject({ durationMs: 0, peakDbfs: -100, packets: 0, gaps: [] })
  await expect(sound.sendTone({ frequencyHz: 440, forMs: 100, timeoutMs: 100 })).rejects.toMatchObject({
    code: 'ATP_SPICE_SOUND_UNHEARD',
  })
})

it('times that are none, or too long, are refused', async () => {
  const sound = new SpiceSound(await connect())
  for (const forMs of [0, -1, Number.NaN, 300_001]) {
    await expect(sound.listen({ forMs })).rejects.toMatchObject({ code: 'ATP_SPICE_SOUND_LENGTH' })
    await expect(sound.sendTone({ frequencyHz: 440, forMs })).rejects.toMatchObject({ code: 'ATP_SPICE_SOUND_LENGTH' })
  }
})

it('channels that somebody else opened are not taken from him', async () => {
  const connection = await connect()
  await connection.openChannel('playback')
  await connection.openChannel('record')
  const sound = new SpiceSound(connection)
  await expect(sound.listen({ forMs: 50 })).rejects.toMatchObject({ code: 'ATP_SPICE_SOUND_TAKEN' })
  await expect(sound.sendTone({ frequencyHz: 440, forMs: 50 })).rejects.toMatchObject({ code: 'ATP_SPICE_SOUND_TAKEN' })
})

it('listening goes on over a loss of the channel, and does not pass for silence after the end of the session', async () => {
  const connection = await connect()
  const sound = new SpiceSound(connection)
  const listening = await sound.startListening()
  const playback = connection.getChannel('playback')
  const back = new Promise<void>((resolve) => playback?.onStateChange(({ to }) => to === 'open' && resolve()))
  playback?.lose(new Error('cut by the test'))
  await back
  expect(listening.stop().packets).toBe(0)

  const stop = new AbortController()
  const interrupted = sound.listen({ forMs: 60_000, signal: stop.signal })
  stop.abort()
  await expect(interrupted).rejects.toMatchObject({ code: 'ATP_INTERRUPTED' })

  const last = await sound.startListening()
  await connection.disconnectAll()
  expect(() => last.stop()).toThrow(expect.objectContaining({ code: 'ATP_SPICE_CLOSED' }))
})
