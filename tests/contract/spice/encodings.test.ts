import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { SpiceSession } from '../../../framework/desktop/spice-session.ts'
import { encodingRows, SpiceVmConnection } from '../../../framework/protocols/spice/index.ts'
import { ALL_DEVICES, ConsoleServer } from '../../support/spice-server/console-server.ts'

let server: ConsoleServer

beforeAll(async () => {
  server = await ConsoleServer.start({ qemuArguments: ALL_DEVICES })
})
afterAll(() => server?.[Symbol.asyncDispose]())

async function session(): Promise<SpiceSession> {
  const connection = new SpiceVmConnection('vm', { server: server.server() })
  onTestFinished(() => connection.disconnectAll())
  await connection.connectMainChannel()
  return new SpiceSession('vm', connection)
}

it('names every channel of a server and what each can do, and opens nothing for good', async () => {
  const spice = await session()
  const report = await spice.encodings()
  expect(report.channels.map(({ type }) => type).toSorted()).toEqual(
    ['cursor', 'display', 'inputs', 'main', 'playback', 'port', 'record', 'smartcard', 'usbredir', 'webdav'].toSorted(),
  )
  for (const channel of report.channels) {
    expect(channel).toMatchObject({ common: ['authSelection', 'authSpice', 'miniHeader'] })
    expect(channel.linkMs).toBeGreaterThan(0)
    expect(channel.error).toBeUndefined()
  }
  const of = (type: string) => report.channels.find((channel) => channel.type === type)?.capabilities
  expect(of('display')).toEqual(expect.arrayContaining(['monitorsConfig', 'preferredCompression']))
  expect(of('playback')).toEqual(expect.arrayContaining(['volume', 'opus']))
  expect(report.choice.compression).toBe(true)
  expect(report.tried).toEqual([])
  expect(JSON.parse(JSON.stringify(report)).channels.length).toBe(10)
  expect(spice.connection.channels.map(({ type }) => type)).toEqual(['main', 'display'])
  expect(server.alive).toBe(true)
})

it('asks for every compression, and says so in rows', async () => {
  const report = await (await session()).encodings({ tryForMs: 20 })
  expect(report.tried.map(({ compression }) => compression)).toEqual([
    'off',
    'autoGlz',
    'autoLz',
    'quic',
    'glz',
    'lz',
    'lz4',
  ])
  const rows = Object.fromEntries(encodingRows(report))
  expect(rows['display']).toContain('preferredCompression')
  expect(rows['asked for quic']).toBe('none')
  expect(rows['clients choose']).toContain('compression')
})
