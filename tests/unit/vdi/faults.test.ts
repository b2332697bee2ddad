import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { Secret } from '../../../framework/core/index.ts'
import { VdiClient, type VdiExchange } from '../../../framework/vdi/index.ts'
import { LabCa } from '../../support/remote-host/lab-ca.ts'
import { type Answer, CannedServer, HELD, ok, sendJson } from './support/canned-server.ts'
import { clientAndServer, errorOf, PASSWORD, vm } from './support/setup.ts'

const VM = 'GET /ocloud/v1/domain/a'
const START = 'POST /ocloud/v1/domain/start'

const dropped: Answer = (_, _response, socket) => {
  socket.destroy()
  return HELD
}
const broken: Answer = (_, response) => sendJson(response, { status: 500, msg: '内部错误' }, 500)
/** Fails a number of times. */
const first = (times: number, fault: Answer, then: Answer): Answer => {
  let left = times
  return (...call) => (left-- > 0 ? fault(...call) : then(...call))
}
const raw =
  (content: string, type = 'application/json'): Answer =>
  (_, response) => {
    response.writeHead(200, type === '' ? {} : { 'content-type': type })
    response.end(content)
    return HELD
  }

it.each([
  ['HTML', raw('<html>\n<title>Login</title>', 'text/html'), /text\/html instead of JSON: "<html> <title>Login/],
  ['JSON of the wrong type', raw('{"status":0}', 'text/plain'), /text\/plain instead of JSON/],
  ['no type', raw('{"status":0}', ''), /an unnamed type instead of JSON/],
  ['half an answer', raw('{"status":0,"data":{"id":'), /25 characters that are no whole JSON/],
  ['nothing', raw(''), /0 characters that are no whole JSON/],
  ['more than 16 MiB', raw(`{"status":0,"msg":"${'x'.repeat(17 << 20)}"}`), /more than 16777216 bytes/],
])('%s is no answer, and is not asked for again', async (_, answer, message) => {
  const { client, server } = await clientAndServer()
  server.on(VM, answer)
  const error = await errorOf(client.domains.get('a'))
  expect(error).toMatchObject({ code: 'ATP_VDI_ANSWER', branch: 'protocol', context: { operation: 'domains.get' } })
  expect(error.message).toMatch(message)
  expect(server.to(VM)).toHaveLength(1)
})

it('what is no HTTP is no answer', async () => {
  const server = createServer((socket) => socket.once('data', () => socket.end('SSH-2.0-OpenSSH_9.2\r\n')))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const client = new VdiClient({ baseUrl: `http://127.0.0.1:${port}`, username: 'a', password: new Secret('p', 'abc') })
  onTestFinished(async () => {
    await client.close()
    server.close()
  })
  expect((await errorOf(client.login())).code).toBe('ATP_VDI_ANSWER')
})

it.each([
  ['HTTP 500', broken, 'ATP_VDI_HTTP'],
  ['a dropped connection', dropped, 'ATP_VDI_CONNECT'],
  [
    'a connection dropped in the middle of the answer',
    ((_, response, socket) => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': 1000 })
      response.write('{"status":0,', () => socket.destroy())
      return HELD
    }) satisfies Answer,
    'ATP_VDI_CONNECT',
  ],
])('%s is survived by what may be repeated, and only by that', async (_, fault, code) => {
  const { client, server } = await clientAndServer()
  server
    .on(
      VM,
      first(3, fault, () => ok(vm('a', 1))),
    )
    .on(
      START,
      first(1, fault, () => ok({ eventIdList: ['e'] })),
    )
  expect((await client.domains.get('a')).id).toBe('a')
  expect(server.to(VM)).toHaveLength(4)
  expect(await errorOf(client.domains.start(['a']))).toMatchObject({ code, retryable: true })
  expect(server.to(START)).toHaveLength(1)
})

it('repetitions end, and their number can be chosen', async () => {
  const { client, server } = await clientAndServer({ retries: 1 })
  server.on(VM, broken)
  expect(await errorOf(client.domains.get('a'))).toMatchObject({ code: 'ATP_VDI_HTTP', context: { httpStatus: 500 } })
  expect(server.to(VM)).toHaveLength(2)
})

it('repetitions stay within the deadline', async () => {
  const { client, server } = await clientAndServer({ retries: 50 })
  server.on(VM, broken)
  await client.login()
  expect(await errorOf(client.domains.get('a', { timeoutMs: 150 }))).toMatchObject({ code: 'ATP_VDI_TIMEOUT' })
  expect(server.to(VM).length).toBeLessThanOrEqual(3)
})

it('redirects are not followed: the token would travel along', async () => {
  const { client, server } = await clientAndServer()
  server.on(VM, (_, response) => {
    response.writeHead(302, { location: `${server.url}/elsewhere` }).end()
    return HELD
  })
  expect(await errorOf(client.domains.get('a'))).toMatchObject({ code: 'ATP_VDI_HTTP', context: { httpStatus: 302 } })
  expect(server.got.map(({ path }) => path)).not.toContain('/elsewhere')
})

it('a platform that does not answer ends with the deadline, one that is not there at once', async () => {
  const { client, server } = await clientAndServer()
  server.on(VM, () => HELD)
  const late = await errorOf(client.domains.get('a', { timeoutMs: 100 }))
  expect(late).toMatchObject({ code: 'ATP_VDI_TIMEOUT', branch: 'timeout', context: { operation: 'domains.get' } })
  expect(late.stack).toContain('faults.test.ts')
  await server.stop()
  const gone = await errorOf(client.domains.get('a'))
  expect(gone).toMatchObject({ code: 'ATP_VDI_CONNECT', branch: 'connect', context: { reason: 'ECONNREFUSED' } })
  expect(gone.stack).toContain('faults.test.ts')
})

it.each([Infinity, 2 ** 40])('a limit of %d ms is none', async (timeoutMs) => {
  const { client, server } = await clientAndServer()
  server.on(VM, () => ok(vm('a', 1)))
  expect((await client.domains.get('a', { timeoutMs })).id).toBe('a')
})

it('an abort ends a call at once, before and while it is sent', async () => {
  const { client, server } = await clientAndServer()
  server.on(VM, () => HELD)
  const abort = new AbortController()
  const call = errorOf(client.domains.get('a', { signal: abort.signal }))
  await expect.poll(() => server.to(VM).length).toBe(1)
  abort.abort(new Error('enough'))
  expect(await call).toMatchObject({ code: 'ATP_INTERRUPTED', cause: { message: 'enough' } })
  expect((await errorOf(client.domains.get('a', { signal: abort.signal }))).code).toBe('ATP_INTERRUPTED')
  expect(server.to(VM)).toHaveLength(1)
})

it.each([
  ['no URL', { baseUrl: 'vdi.example' }],
  ['another scheme', { baseUrl: 'ftp://vdi.example' }],
  ['a password in the URL', { baseUrl: 'http://admin:hidden-in-url@vdi.example' }],
  ['no time', { timeoutMs: 0 }],
  ['no number of repetitions', { retries: -1 }],
  ['no UTC offset', { assumptions: { timestampZone: 'Asia/Shanghai' } }],
])('options with %s are refused', async (_, options) => {
  const error = await errorOf(clientAndServer(options as never))
  expect(error.code).toBe('ATP_VDI_OPTIONS')
  expect(error.message).not.toContain('hidden-in-url')
})

it('a path of the base URL stays before that of the operation', async () => {
  const server = await CannedServer.start()
  const password = new Secret('platform', PASSWORD)
  const client = new VdiClient({ baseUrl: `${server.url}/vdi/`, username: 'admin', password })
  onTestFinished(async () => {
    await client.close()
    await server.stop()
  })
  server
    .on('POST /vdi/ocloud/v1/login', () => ok({ token: 'token-1' }))
    .on(`GET /vdi/ocloud/v1/domain/a`, () => ok(vm('a', 1)))
  expect((await client.domains.get('a')).id).toBe('a')
})

it('certificates are checked, unless the authority is given or checking is off', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'atp-vdi-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const authority = new LabCa(folder, 'ATP test authority')
  const { key, cert } = authority.issue('vdi', { use: 'server', names: ['IP:127.0.0.1'] })
  const ca = readFileSync(authority.cert, 'utf8')
  const server = await CannedServer.start({ key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') })
  server.on(VM, () => ok(vm('a', 1)))
  const client = (tls?: { ca?: string; verify?: boolean }, baseUrl = server.url) => {
    const made = new VdiClient({ baseUrl, username: 'admin', password: new Secret('platform', PASSWORD), tls })
    onTestFinished(() => made.close())
    return made
  }
  onTestFinished(() => server.stop())
  const refused = await errorOf(client().domains.get('a'))
  expect(refused).toMatchObject({ code: 'ATP_VDI_TLS', branch: 'connect', retryable: false })
  expect(server.got).toEqual([])
  expect((await client({ ca }).domains.get('a')).id).toBe('a')
  expect((await client({ verify: false }).domains.get('a')).id).toBe('a')
  const elsewhere = server.url.replace('127.0.0.1', 'localhost')
  expect((await errorOf(client({ ca }, elsewhere).login())).code).toBe('ATP_VDI_TLS')
})

it('an observer is told of every request', async () => {
  const seen: VdiExchange[] = []
  const { client, server } = await clientAndServer({ observe: (exchange) => seen.push(exchange) })
  server.on(
    VM,
    first(
      1,
      dropped,
      first(1, broken, () => ok(vm('a', 1))),
    ),
  )
  await client.domains.get('a')
  expect(
    seen.map(({ operation, attempt, httpStatus, code, error }) => [operation, attempt, httpStatus, code, error]),
  ).toEqual([
    ['session.login', 1, 200, 0, undefined],
    ['domains.get', 1, undefined, undefined, 'ATP_VDI_CONNECT'],
    ['domains.get', 2, 500, undefined, 'ATP_VDI_HTTP'],
    ['domains.get', 3, 200, 0, undefined],
  ])
  expect(seen[3]).toMatchObject({ method: 'GET', url: `${server.url}/ocloud/v1/domain/a` })
  expect(seen[3]?.durationMs).toBeGreaterThan(0)
})
