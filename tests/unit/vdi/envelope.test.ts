import { describe, expect, it } from 'vitest'
import { Secret } from '../../../framework/core/index.ts'
import { ok, sendJson } from './support/canned-server.ts'
import { clientAndServer, errorOf, vm } from './support/setup.ts'

const VM = 'GET /ocloud/v1/domain/a'
const USER_LOGIN = 'POST /ocloud/usermodule/login'
const password = new Secret('user', 'pw of alice')

describe('R and B', () => {
  it.each([
    ['5098', { status: 5098, msg: '用户不存在' }, 5098, '用户不存在'],
    ['an unknown code', { status: 9001, msg: 'busy', data: null }, 9001, 'busy'],
    ['a code as text', { status: '7', msg: 'no' }, 7, 'no'],
    ['a code without words', { status: 1 }, 1, ''],
    ['returnCode alone', { returnCode: 500, msg: 'no' }, 500, 'no'],
  ])('%s in HTTP 200 is a refusal', async (_, answer, code, message) => {
    const { client, server } = await clientAndServer()
    server.on(VM, () => answer)
    const error = await errorOf(client.domains.get('a'))
    expect(error).toMatchObject({
      code: 'ATP_VDI_REFUSED',
      branch: 'remote',
      retryable: false,
      context: { operation: 'domains.get', code, message, httpStatus: 200, url: `${server.url}/ocloud/v1/domain/a` },
    })
    expect(error.message).toContain(`GET ${server.url}/ocloud/v1/domain/a`)
    expect(server.to(VM)).toHaveLength(1)
  })

  it('a refusal in another HTTP status is one, too; an error page of the server is none', async () => {
    const { client, server } = await clientAndServer()
    server.on(VM, (_, response) => sendJson(response, { status: 9001, msg: 'no' }, 400))
    expect(await errorOf(client.domains.get('a'))).toMatchObject({
      code: 'ATP_VDI_REFUSED',
      context: { code: 9001, httpStatus: 400 },
    })
    server.answers.delete(VM)
    expect(await errorOf(client.domains.get('a'))).toMatchObject({ code: 'ATP_VDI_HTTP', context: { httpStatus: 404 } })
  })

  it('success needs a code', async () => {
    const { client, server } = await clientAndServer()
    for (const answer of [{ data: vm('a', 1) }, [], 'text', 7, null]) {
      server.on(VM, (_, response) => sendJson(response, answer))
      expect((await errorOf(client.domains.get('a'))).code).toBe('ATP_VDI_ANSWER')
    }
  })

  it('success without data is none where data is needed, and an empty list where a list is', async () => {
    const { client, server } = await clientAndServer()
    for (const answer of [{ status: 0 }, { status: 0, msg: null, data: null }]) {
      server.on(VM, () => answer).on('GET /ocloud/v1/desk-pool/p/domain/list', () => answer)
      expect(await errorOf(client.domains.get('a'))).toMatchObject({
        code: 'ATP_VDI_ANSWER',
        context: { path: 'data' },
      })
      expect(await client.deskPools.domains('p')).toEqual([])
    }
    const picky = await clientAndServer({ assumptions: { absentListIsEmpty: false } })
    picky.server.on('GET /ocloud/v1/desk-pool/p/domain/list', () => ({ status: 0 }))
    expect((await errorOf(picky.client.deskPools.domains('p'))).code).toBe('ATP_VDI_ANSWER')
  })

  it('what answers nothing takes data that is null', async () => {
    const { client, server } = await clientAndServer({ validation: 'strict' })
    server.on('POST /ocloud/v1/domain/a/to-model', () => ({ status: 0, msg: 'ok', data: null }))
    expect(await client.domains.toModel('a')).toBeUndefined()
  })
})

describe('U and C', () => {
  const data = { token: 'user-token-1', userName: 'alice', domains: [{ id: 'a', name: 'vm-a', status: 1 }] }

  it.each([
    ['status 0', { status: 0, returnCode: 200, msg: 'ok', data }],
    ['status 200', { status: 200, msg: 'ok', data }],
    ['returnCode 200 alone', { returnCode: 200, msg: 'ok', data }],
    ['returnCode 0 alone', { returnCode: 0, msg: 'ok', data }],
  ])('%s is success', async (_, answer) => {
    const { client, server } = await clientAndServer({ validation: 'strict' })
    server.on(USER_LOGIN, () => answer)
    const session = await client.users.login('alice', password)
    expect(session).toMatchObject({ userName: 'alice', domains: [{ id: 'a' }], linkingHosts: [] })
    expect(session.token.reveal()).toBe('user-token-1')
    expect(server.logins).toBe(0)
  })

  it.each([5098, 5099, 5100, 5101, 5102])('%i is refused with its meaning', async (code) => {
    const { client, server } = await clientAndServer()
    server.on(USER_LOGIN, () => ({ status: code, returnCode: code, msg: String(code) }))
    const error = await errorOf(client.users.login('alice', password))
    expect(error).toMatchObject({ code: 'ATP_VDI_REFUSED', context: { operation: 'users.login', code } })
    expect(error.message).toMatch(/user|password|locked|expired|SMS/)
    expect(error.remedy).toBeDefined()
  })

  it('status 200 is no success elsewhere', async () => {
    const { client, server } = await clientAndServer()
    server.on(VM, () => ({ status: 200, msg: 'ok', data: vm('a', 1) }))
    expect(await errorOf(client.domains.get('a'))).toMatchObject({ code: 'ATP_VDI_REFUSED', context: { code: 200 } })
  })

  it.each([
    ['both', { username: 'alice', sAMAccountName: 'alice' }],
    ['username', { username: 'alice' }],
    ['sAMAccountName', { sAMAccountName: 'alice' }],
  ] as const)('the account is sent in %s', async (endUserField, fields) => {
    const { client, server } = await clientAndServer({ assumptions: { endUserField } })
    server.on(USER_LOGIN, () => ok(data))
    await client.users.login('alice', new Secret('vector', 'password'))
    const sent = { action: 'pwd', password: '5f4dcc3b5aa765d61d8327deb882cf99', ...fields }
    expect(server.to(USER_LOGIN)[0]?.body).toEqual(sent)
  })

  it('the old login answers a flat object', async () => {
    const { client, server } = await clientAndServer({
      validation: 'strict',
      assumptions: { endUserLogin: 'userlogin2' },
    })
    const path = 'POST /ocloud/usermodule/userlogin2'
    server.on(path, () => ({
      returnCode: 200,
      msg: 'ok',
      token: 'user-token-2',
      userName: 'alice',
      machines: { x: 1 },
    }))
    expect((await client.users.login('alice', password)).token.reveal()).toBe('user-token-2')
    server.on(path, () => ({ returnCode: 5100, msg: '5100' }))
    expect(await errorOf(client.users.login('alice', password))).toMatchObject({ context: { code: 5100 } })
  })
})
