import { inspect } from 'node:util'
import { expect, it } from 'vitest'
import { Secret } from '../../../framework/core/index.ts'
import type { VdiClient } from '../../../framework/vdi/index.ts'
import { type Answer, HELD, ok, sendJson } from './support/canned-server.ts'
import { clientAndServer, errorOf, PASSWORD, PASSWORD_MD5 } from './support/setup.ts'

const TOKEN = 'f3b2a1c0-0000-4000-8000-token0secret'
const USER_PASSWORD = 'pw-of-alice-99'
const hidden = [PASSWORD, PASSWORD_MD5, TOKEN, USER_PASSWORD]

/** Everything a report could show of an error. */
function allOf(error: unknown): string {
  const { stack, cause, context } = error as Error & { context?: unknown }
  return [stack, inspect(error, { depth: 10 }), inspect(cause, { depth: 10 }), JSON.stringify(context)].join('\n')
}

/** Everything that was sent, back as HTML, as JSON, as a message, as data. */
const echo = (got: unknown) => JSON.stringify(got)
const faults: [string, Answer][] = [
  ['HTML', (got, response) => (response.writeHead(200, { 'content-type': 'text/html' }).end(echo(got)), HELD)],
  ['HTTP 500', (got, response) => sendJson(response, { status: 500, msg: echo(got) }, 500)],
  ['HTTP 400', (got, response) => sendJson(response, { status: 9001, msg: echo(got) }, 400)],
  ['a refusal', (got) => ({ status: 9001, msg: echo(got) })],
  ['data of another type', (got) => ok([echo(got)])],
  ['unknown fields', (got) => ({ ...ok(), [echo(got)]: got })],
  ['a dropped connection', (_, _response, socket) => (socket.destroy(), HELD)],
  ['no answer', () => HELD],
]

it.each(faults)('%s: no error shows what is secret', async (_, fault) => {
  const seen: unknown[] = []
  const { client, server } = await clientAndServer({
    validation: 'strict',
    retries: 0,
    observe: (exchange) => seen.push(exchange),
  })
  const login = 'POST /ocloud/v1/login'
  server.on(login, () => ok({ token: TOKEN }))
  await client.login()
  for (const request of ['POST /ocloud/v1/user', 'POST /ocloud/usermodule/login', 'GET /ocloud/v1/domain/a'])
    server.on(request, fault)
  const password = new Secret('user', USER_PASSWORD)
  const limit = { timeoutMs: 1000 }
  const calls: ((client: VdiClient) => Promise<unknown>)[] = [
    (c) => c.users.create({ sAMAccountName: 'alice', password }, limit),
    (c) => c.users.login('alice', password, limit),
    (c) => c.domains.get('a', limit),
  ]
  const shown = []
  for (const call of calls) shown.push(allOf(await errorOf(call(client))))
  await client.logout()
  server.on(login, fault)
  shown.push(allOf(await errorOf(client.login(limit))))
  const text = [...shown, inspect(seen, { depth: 5 }), inspect(client, { depth: 10, showHidden: true })].join('\n')
  expect(shown).toHaveLength(4)
  for (const secret of hidden) expect(text).not.toContain(secret)
})
