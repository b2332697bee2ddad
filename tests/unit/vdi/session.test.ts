import { setTimeout as pause } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { Secret } from '../../../framework/core/index.ts'
import { passwordHash } from '../../../framework/vdi/password.ts'
import { type Got, HELD, ok, sendJson } from './support/canned-server.ts'
import { clientAndServer, errorOf, PASSWORD_MD5, vm } from './support/setup.ts'

const GET_VM = 'GET /ocloud/v1/domain/a'
const LOGIN = 'POST /ocloud/v1/login'
const expired = { status: 1006, msg: 'token校验失败' }

/** Answers with a VM to the holders of these tokens. */
const forTokens =
  (...valid: string[]) =>
  ({ token }: Got) =>
    valid.includes(token ?? '') ? ok(vm('a', 1)) : expired

it('passwords travel as lower-case hexadecimal MD5 of their UTF-8 form', () => {
  expect(passwordHash(new Secret('vector', 'password'))).toBe('5f4dcc3b5aa765d61d8327deb882cf99')
})

it('the first call logs in, and the token travels in its header', async () => {
  const { client, server } = await clientAndServer()
  server.on(GET_VM, forTokens('token-1'))
  expect(server.logins).toBe(0)
  expect(await client.domains.get('a')).toMatchObject({ id: 'a', name: 'vm-a', status: 1 })
  await client.domains.get('a')
  expect(server.to(LOGIN)).toHaveLength(1)
  expect(server.to(LOGIN)[0]?.body).toEqual({ username: 'admin', password: PASSWORD_MD5, client: '' })
  expect(server.to(LOGIN)[0]?.token).toBeUndefined()
  expect(server.to(GET_VM).map(({ token }) => token)).toEqual(['token-1', 'token-1'])
})

it('fifty parallel calls with an expired token cause one login', async () => {
  const { client, server } = await clientAndServer()
  await client.login()
  server.on(GET_VM, forTokens('token-2'))
  const answers = await Promise.all(Array.from({ length: 50 }, () => client.domains.get('a')))
  expect(answers).toHaveLength(50)
  expect(server.logins).toBe(2)
  const tokens = server.to(GET_VM).map(({ token }) => token)
  expect(tokens.filter((token) => token === 'token-2')).toHaveLength(50)
})

it('fifty parallel first calls share one login', async () => {
  const { client, server } = await clientAndServer()
  server.on(GET_VM, forTokens('token-1'))
  await Promise.all(Array.from({ length: 50 }, () => client.domains.get('a')))
  expect(server.logins).toBe(1)
})

it('a call is repeated once after a new login, also one that is not idempotent, then it fails', async () => {
  const { client, server } = await clientAndServer()
  server.on('POST /ocloud/v1/domain/start', () => expired)
  const error = await errorOf(client.domains.start(['a']))
  expect(error).toMatchObject({ code: 'ATP_VDI_REFUSED', context: { operation: 'domains.start', code: 1006 } })
  expect(error.message).toContain('the session has expired')
  expect(server.to('POST /ocloud/v1/domain/start').map(({ token }) => token)).toEqual(['token-1', 'token-2'])
})

it('HTTP 401 means the same as 1006', async () => {
  const { client, server } = await clientAndServer()
  server.on(GET_VM, ({ token }, response) =>
    token === 'token-2' ? ok(vm('a', 1)) : sendJson(response, { error: 'unauthorized' }, 401),
  )
  expect((await client.domains.get('a')).id).toBe('a')
  expect(server.logins).toBe(2)
  server.on(GET_VM, (_, response) => sendJson(response, { error: 'unauthorized' }, 401))
  expect(await errorOf(client.domains.get('a'))).toMatchObject({ code: 'ATP_VDI_HTTP', context: { httpStatus: 401 } })
})

it('codes and HTTP statuses of expiry are assumptions', async () => {
  const { client, server } = await clientAndServer({ assumptions: { expiredTokenCodes: [7], loginClient: undefined } })
  server.on(GET_VM, ({ token }) => (token === 'token-2' ? ok(vm('a', 1)) : { status: 7, msg: 'expired' }))
  await client.domains.get('a')
  expect(server.logins).toBe(2)
  expect(server.to(LOGIN)[0]?.body).toEqual({ username: 'admin', password: PASSWORD_MD5 })
})

it('a refused login is the error of every call that waited for it, and is tried again by the next', async () => {
  const { client, server } = await clientAndServer()
  server.on(LOGIN, () => ({ status: 5099, msg: '密码错误' })).on(GET_VM, forTokens('token-9'))
  const errors = await Promise.all(Array.from({ length: 5 }, () => errorOf(client.domains.get('a'))))
  expect(new Set(errors.map(({ code }) => code))).toEqual(new Set(['ATP_VDI_REFUSED']))
  expect(errors[0]).toMatchObject({ context: { operation: 'session.login', code: 5099, message: '密码错误' } })
  expect(errors[0]?.message).toContain('wrong password')
  expect(server.to(LOGIN)).toHaveLength(1)
  server.on(LOGIN, () => ok({ token: 'token-9' }))
  expect((await client.domains.get('a')).id).toBe('a')
})

it('who gives up waiting for a login does not end it for others', async () => {
  const { client, server } = await clientAndServer()
  let answer!: () => void
  server.on(GET_VM, forTokens('token-7')).on(LOGIN, (_, response) => {
    answer = () => void sendJson(response, ok({ token: 'token-7' }))
    return HELD
  })
  const abort = new AbortController()
  const impatient = errorOf(client.domains.get('a', { signal: abort.signal }))
  const patient = client.domains.get('a')
  await expect.poll(() => server.to(LOGIN).length).toBe(1)
  abort.abort()
  expect((await impatient).code).toBe('ATP_INTERRUPTED')
  answer()
  expect((await patient).id).toBe('a')
  expect(server.to(LOGIN)).toHaveLength(1)
})

it('a token that no header can carry is an answer that cannot be used', async () => {
  const { client, server } = await clientAndServer()
  server.on(LOGIN, () => ok({ token: 'a\r\nx: y' }))
  expect((await errorOf(client.login())).code).toBe('ATP_VDI_ANSWER')
})

it('logout ends the session; the next call opens another; without one it does nothing', async () => {
  const { client, server } = await clientAndServer()
  server.on(GET_VM, forTokens('token-1', 'token-2'))
  await client.logout()
  await client.domains.get('a')
  await client.logout()
  expect(server.to('POST /ocloud/v1/logout').map(({ token }) => token)).toEqual(['token-1'])
  await client.domains.get('a')
  expect(server.logins).toBe(2)
})

it('close ends the session and whatever is under way; later calls are refused', async () => {
  const { client, server } = await clientAndServer()
  server.on(GET_VM, () => HELD)
  await client.login()
  const held = errorOf(client.domains.get('a'))
  await expect.poll(() => server.to(GET_VM).length).toBe(1)
  const waiting = errorOf(client.domains.waitForStatus(['a'], 'running'))
  await client.close()
  expect((await held).code).toBe('ATP_VDI_CLOSED')
  expect((await waiting).code).toBe('ATP_VDI_CLOSED')
  expect((await errorOf(client.domains.get('a'))).code).toBe('ATP_VDI_CLOSED')
  expect((await errorOf(client.login())).code).toBe('ATP_VDI_CLOSED')
  expect(server.to('POST /ocloud/v1/logout')).toHaveLength(1)
  await client.close()
})

it('close does not wait for a platform that does not answer', async () => {
  const { client, server } = await clientAndServer()
  server.on('POST /ocloud/v1/logout', () => HELD)
  await client.login()
  const late = Symbol('late')
  expect(await Promise.race([client.close(), pause(5000, late, { ref: false })])).not.toBe(late)
})

it("an end user's session ends with its own token; the administrator's goes on", async () => {
  const { client, server } = await clientAndServer()
  const LOGOUT = 'POST /ocloud/v1/logout'
  const token = new Secret('token of alice', 'alice-token')
  await client.login()
  expect(await client.users.logout({ token })).toBe(true)
  expect(server.to(LOGOUT).map((got) => got.token)).toEqual(['alice-token'])
  server.on(LOGOUT, () => expired)
  expect(await client.users.logout({ token })).toBe(false)
  server.on(LOGOUT, () => ({ status: 9, msg: '拒绝' }))
  expect(await errorOf(client.users.logout({ token }))).toMatchObject({ code: 'ATP_VDI_REFUSED', context: { code: 9 } })
  server.on(GET_VM, forTokens('token-1'))
  await client.domains.get('a')
  expect(server.logins).toBe(1)
})

it('where end users only expire, no call ends their session', async () => {
  const { client, server } = await clientAndServer({ assumptions: { endUserLogout: 'expiry' } })
  expect(await client.users.logout({ token: new Secret('token of bob', 'bob-token') })).toBe(false)
  expect(server.got).toEqual([])
})
