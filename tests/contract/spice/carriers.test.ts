import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { Secret } from '../../../framework/core/index.ts'
import { spiceServer, type SpiceTls } from '../../../framework/hosts/spice-carriers.ts'
import {
  parseSpiceUri,
  SpiceVmConnection,
  webSocketCarrier,
  type SpiceServer,
} from '../../../framework/protocols/spice/index.ts'
import { PROGRAMS } from '../../support/remote-host/programs.ts'
import {
  ConsoleServer,
  SASL_PASSWORD,
  SASL_USER,
  type ConsoleServerOptions,
} from '../../support/spice-server/console-server.ts'

async function started(options: ConsoleServerOptions): Promise<ConsoleServer> {
  const server = await ConsoleServer.start(options)
  onTestFinished(() => server[Symbol.asyncDispose]())
  return server
}

let last: SpiceVmConnection | undefined

/** Opens main and inputs, so that also a joining channel has been over the carrier. The session before is closed. */
async function open(server: SpiceServer): Promise<SpiceVmConnection> {
  await last?.disconnectAll()
  const connection = new SpiceVmConnection('vm', { server })
  last = connection
  onTestFinished(() => connection.disconnectAll())
  await connection.connectMainChannel()
  await connection.openChannel('inputs')
  return connection
}

describe('a SPICE server is reached', () => {
  it('over a Unix socket', async () => {
    const console = await started({ listen: 'unix', ticket: 'right' })
    const connection = await open(console.server({ password: 'right' }))
    expect(connection.main.place).toContain('unix:/')
  })

  it('over a WebSocket, straight at its port', async () => {
    const console = await started({ ticket: 'right' })
    const address = parseSpiceUri(`ws://127.0.0.1:${console.port}/`)
    const connection = await open(spiceServer(address, { password: new Secret('ticket', 'right') }))
    // The test of the network: 256 KB in one message.
    expect(connection.main.statistics.bytesIn).toBeGreaterThan(250_000)
    await connection.main.heartbeat(5000)
  })

  it('at an address that is written as a URI', async () => {
    const console = await started({})
    await open(spiceServer(parseSpiceUri(`spice://127.0.0.1:${console.port}`)))
  })

  it('not where none listens', async () => {
    const refused = open(spiceServer(parseSpiceUri('spice://127.0.0.1:1')))
    await expect(refused).rejects.toMatchObject({ code: 'ATP_TRANSPORT_CONNECT' })
    const noSocket = open(spiceServer(parseSpiceUri('ws://127.0.0.1:1/')))
    await expect(noSocket).rejects.toMatchObject({ code: 'ATP_TRANSPORT_CONNECT' })
    const platform = open({ name: 'nowhere', open: webSocketCarrier('ws://127.0.0.1:1/') })
    await expect(platform).rejects.toMatchObject({ code: 'ATP_SPICE_WEBSOCKET' })
  })

  it('over the platform’s own WebSocket, as in a browser', async () => {
    const console = await started({})
    const connection = await open({ name: 'vm', open: webSocketCarrier(`ws://127.0.0.1:${console.port}/`) })
    await connection.main.heartbeat(5000)
  })

  it('over a WebSocket through TLS, which is verified as TLS is', async () => {
    const console = await started({ listen: 'tls', ticket: 'right' })
    const address = parseSpiceUri(`wss://127.0.0.1:${console.tlsPort}/`)
    const password = new Secret('ticket', 'right')
    const wss = (tls: SpiceTls) => open(spiceServer(address, { password, tls }))
    const { ca } = console
    const connection = await wss({ ca, servername: 'spice.test' })
    expect(connection.main.statistics.bytesIn).toBeGreaterThan(250_000)
    await connection.main.heartbeat(5000)
    await wss({ ca, subject: 'CN=spice.test' })
    await wss({ verify: false })
    await expect(wss({})).rejects.toMatchObject({ code: 'ATP_TLS_UNKNOWN_CA' })
    await expect(wss({ ca })).rejects.toMatchObject({ code: 'ATP_TLS_NAME' })
  })

  it('not where something else than a WebSocket is spoken', async () => {
    const web = createServer((_, response) => response.writeHead(404).end()).listen(0, '127.0.0.1')
    onTestFinished(() => void web.close())
    await once(web, 'listening')
    const { port } = web.address() as AddressInfo
    const refused = open(spiceServer(parseSpiceUri(`ws://127.0.0.1:${port}/`)))
    await expect(refused).rejects.toThrow(/no WebSocket is accepted: HTTP\/1\.1 404/)
  })
})

describe('TLS', () => {
  it('verifies who answers, unless told not to', async () => {
    const console = await started({ listen: 'tls', ticket: 'right' })
    const { tlsPort, ca } = console
    const address = parseSpiceUri(`spice+tls://127.0.0.1:${tlsPort}`)
    const password = new Secret('ticket', 'right')
    const tls = (options: Parameters<typeof spiceServer>[1]) => open(spiceServer(address, { password, ...options }))
    await expect(tls({})).rejects.toMatchObject({ code: 'ATP_TLS_UNKNOWN_CA' })
    await expect(tls({ tls: { ca } })).rejects.toMatchObject({ code: 'ATP_TLS_NAME' })
    await tls({ tls: { ca, servername: 'spice.test' } })
    await tls({ tls: { ca, subject: 'CN=spice.test' } })
    await expect(tls({ tls: { ca, subject: 'CN=other' } })).rejects.toThrow(/its subject is CN=spice\.test/)
    await tls({ tls: { verify: false } })
    // A SPICE server asks for no client certificate; one that is shown does no harm.
    await tls({ tls: { ca, servername: 'spice.test', ...console.client } })
  })

  it('is taken where the server demands it, and only where it is allowed', async () => {
    const console = await started({ listen: 'both', tlsChannels: ['main', 'inputs'] })
    const connection = await open(console.server())
    expect(connection.channels.map(({ type }) => type)).toEqual(['main', 'inputs'])
    const plain = { ...console.server(), openSecured: undefined }
    await expect(open(plain)).rejects.toMatchObject({ code: 'ATP_SPICE_NEED_SECURED' })
  })
})

const missing = existsSync(PROGRAMS.saslpasswd2) ? undefined : `${PROGRAMS.saslpasswd2} is missing`
describe.skipIf(missing)(`SASL${missing ? ` (${missing})` : ''}`, () => {
  const sasl = (password = SASL_PASSWORD) => ({ user: SASL_USER, password: new Secret('sasl', password) })

  it.each(['plain', 'scram-sha-256'] as const)('%s over TLS lets the right user in', async (mechanism) => {
    const console = await started({ listen: 'tls', sasl: mechanism })
    await open(console.server({ sasl: sasl() }))
    await expect(open(console.server({ sasl: sasl('wrong') }))).rejects.toMatchObject({ code: 'ATP_SPICE_AUTH' })
    await expect(open(console.server())).rejects.toMatchObject({ code: 'ATP_SPICE_AUTH_NEEDED' })
  })

  it('is not done over plain TCP', async () => {
    const console = await started({ listen: 'tcp', sasl: 'digest-md5' })
    await expect(open(console.server({ sasl: sasl() }))).rejects.toMatchObject({ code: 'ATP_SPICE_AUTH_UNSUPPORTED' })
  })

  it('with mechanisms that are too weak is refused', async () => {
    const console = await started({ listen: 'tls', sasl: 'digest-md5' })
    await expect(open(console.server({ sasl: sasl() }))).rejects.toThrow(
      /DIGEST-MD5; usable are SCRAM-SHA-256 and PLAIN/,
    )
  })
})
