import { once } from 'node:events'
import { request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import { mkdir, mkdtemp, readdir, readFile, realpath, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { DOMParser } from '@xmldom/xmldom'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { StreamDuplex } from '../../../framework/desktop/shared-folder/stream-duplex.ts'
import { WebDavServer } from '../../../framework/desktop/shared-folder/webdav-server.ts'
import { memoryPair } from '../../../framework/transport/index.ts'

const MUTATIONS = Number(process.env['ATP_MUTATIONS'] ?? 200)

let outer: string
let root: string
let server: WebDavServer
beforeEach(async () => {
  outer = await realpath(await mkdtemp(join(tmpdir(), 'shared-')))
  root = join(outer, 'root')
  await mkdir(root)
  await writeFile(join(outer, 'secret'), 'not yours')
  server = new WebDavServer(root)
})
afterEach(async () => {
  server.close()
  await rm(outer, { recursive: true })
})

function connect() {
  const [here, there] = memoryPair()
  server.serve(there)
  return new StreamDuplex(here)
}

async function ask(
  method: string,
  path: string,
  headers: Record<string, string> = {},
  body: string | Uint8Array = '',
): Promise<{ status: number; headers: IncomingHttpHeaders; body: Buffer }> {
  const sent = httpRequest({ createConnection: () => connect(), method, path, headers })
  const answered = once(sent, 'response') as Promise<[IncomingMessage]>
  sent.end(body)
  const [response] = await answered
  const parts: Buffer[] = []
  for await (const part of response) parts.push(part as Buffer)
  return { status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(parts) }
}
const statusOf = async (...all: Parameters<typeof ask>) => (await ask(...all)).status

async function list(path: string): Promise<string[]> {
  const { status, body } = await ask('PROPFIND', path, { Depth: '1' })
  expect(status).toBe(207)
  const xml = new DOMParser().parseFromString(body.toString(), 'text/xml')
  return Array.from(xml.getElementsByTagNameNS('DAV:', 'href'), ({ textContent }) =>
    decodeURIComponent(textContent ?? ''),
  )
}

describe('a shared folder', () => {
  it('says what it can do', async () => {
    const { headers } = await ask('OPTIONS', '/')
    expect(headers).toMatchObject({ dav: '1', allow: 'OPTIONS, PROPFIND, GET, HEAD, PUT, DELETE, MKCOL, COPY, MOVE' })
    expect((await ask('LOCK', '/')).headers.allow).toContain('PROPFIND')
  })

  it('ends a connection that is for one request', async () => {
    const connection = connect()
    const parts: Buffer[] = []
    connection.write('OPTIONS / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
    for await (const part of connection) parts.push(part as Buffer)
    expect(Buffer.concat(parts).toString()).toContain('200 OK')
  })

  it('is listed, whatever names are in it', async () => {
    await mkdir(join(root, '文件夹'))
    await writeFile(join(root, 'a & <b> %20.txt'), 'x')
    expect((await list('/')).toSorted()).toEqual(['/', '/a & <b> %20.txt', '/文件夹/'].toSorted())
    const { body } = await ask('PROPFIND', '/a%20%26%20%3Cb%3E%20%2520.txt', { Depth: '0' }, '<propfind/>')
    expect(body.toString()).toContain('<D:getcontentlength>1</D:getcontentlength>')
    expect(await statusOf('PROPFIND', '/')).toBe(403)
    expect(await statusOf('PROPFIND', '/none', { Depth: '0' })).toBe(404)
    expect(await statusOf('PROPFIND', '/', { Depth: '0' }, 'x'.repeat(70_000))).toBe(413)
  })

  it('takes files and gives them back', async () => {
    const bytes = Uint8Array.from({ length: 300_000 }, (_, index) => (index * 7) >> 2)
    expect(await statusOf('PUT', '/%E6%8A%A5%E5%91%8A', {}, bytes)).toBe(201)
    expect(await readFile(join(root, '报告'))).toEqual(Buffer.from(bytes))
    const got = await ask('GET', '/%E6%8A%A5%E5%91%8A')
    expect(got.body.equals(bytes)).toBe(true)
    const head = await ask('HEAD', '/%E6%8A%A5%E5%91%8A')
    expect([head.headers['content-length'], head.body.length]).toEqual(['300000', 0])
    expect(await statusOf('PUT', '/%E6%8A%A5%E5%91%8A', {}, '')).toBe(204)
    expect((await ask('GET', '/%E6%8A%A5%E5%91%8A')).body).toHaveLength(0)
    expect(await statusOf('PUT', '/none/file', {}, 'x')).toBe(409)
    expect(await statusOf('PUT', '/', {}, 'x')).toBe(405)
    expect(await statusOf('PUT', '/part', { 'Content-Range': 'bytes 0-0/2' }, 'x')).toBe(400)
    expect(await statusOf('GET', '/')).toBe(405)
    expect(await statusOf('GET', '/none')).toBe(404)
  })

  it('has no half of a file whose upload broke off', async () => {
    const connection = connect()
    connection.write('PUT /half HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nfirst')
    await expect.poll(() => readdir(root)).toHaveLength(1)
    connection.destroy()
    await expect.poll(() => readdir(root)).toEqual([])
  })

  it('is changed: folders made, things moved, copied and deleted', async () => {
    expect(await statusOf('MKCOL', '/a')).toBe(201)
    expect(await statusOf('MKCOL', '/a')).toBe(405)
    expect(await statusOf('MKCOL', '/x/y')).toBe(409)
    expect(await statusOf('MKCOL', '/b', {}, 'body')).toBe(415)
    await writeFile(join(root, 'a/f'), '1')
    expect(await statusOf('COPY', '/a', { Destination: 'http://localhost/b' })).toBe(201)
    expect(await statusOf('COPY', '/a', { Destination: '/c/', Depth: '0' })).toBe(201)
    expect(await readdir(join(root, 'c'))).toEqual([])
    expect(await statusOf('MOVE', '/b/f', { Destination: '/g' })).toBe(201)
    expect(await statusOf('MOVE', '/a/f', { Destination: '/g', Overwrite: 'F' })).toBe(412)
    expect(await statusOf('MOVE', '/a/f', { Destination: '/g' })).toBe(204)
    expect((await list('/')).toSorted()).toEqual(['/', '/a/', '/b/', '/c/', '/g'])
    expect(await statusOf('DELETE', '/a')).toBe(204)
    expect(await statusOf('DELETE', '/a')).toBe(404)
    expect(await readdir(root)).not.toContain('a')
  })

  it('refuses what would harm it', async () => {
    await mkdir(join(root, 'a/b'), { recursive: true })
    expect(await statusOf('DELETE', '/')).toBe(403)
    expect(await statusOf('MOVE', '/', { Destination: '/z' })).toBe(403)
    expect(await statusOf('MOVE', '/a', { Destination: '/a/b/c' })).toBe(403)
    expect(await statusOf('COPY', '/a', { Destination: '/a' })).toBe(403)
    expect(await statusOf('MOVE', '/a/b', { Destination: '/a' })).toBe(403)
    expect(await statusOf('MOVE', '/a', { Destination: '/' })).toBe(405)
    expect(await statusOf('MOVE', '/a')).toBe(400)
    expect(await readdir(join(root, 'a'))).toEqual(['b'])
  })

  it('lets nobody out', async () => {
    await symlink(outer, join(root, 'up'))
    await symlink('../secret', join(root, 'link'))
    await symlink('../made', join(root, 'broken'))
    await writeFile(join(root, 'own'), 'mine')
    for (const path of [
      '/up/secret',
      '/link',
      '/broken',
      '/broken/x',
      '/../secret',
      '/%2e%2e/secret',
      '/..%2fsecret',
      '/a%00',
      '/a%5cb',
      '/.',
    ]) {
      expect([path, await statusOf('GET', path)]).toEqual([path, 403])
      expect([path, await statusOf('PUT', path, {}, 'x')]).toEqual([path, 403])
      expect([path, await statusOf('MOVE', '/own', { Destination: path })]).toEqual([path, 403])
      expect([path, await statusOf('COPY', '/own', { Destination: path })]).toEqual([path, 403])
    }
    expect(await statusOf('GET', '/%ff')).toBe(400)
    expect((await list('/')).toSorted()).toEqual(['/', '/own'])
    expect(await readFile(join(outer, 'secret'), 'utf8')).toBe('not yours')
    expect((await readdir(outer)).toSorted()).toEqual(['root', 'secret'])
  })
})

it(
  'whatever is asked for, nothing outside of the folder is touched',
  async () => {
    await writeFile(join(root, 'file'), 'x')
    await symlink(outer, join(root, 'up'))
    const segment = fc.constantFrom(
      '..',
      '.',
      '%2e%2e',
      '%2E.',
      '..%2f..',
      'up',
      'file',
      'new',
      '',
      '%00',
      '%',
      'secret',
      '%5c..',
    )
    const path = fc.array(segment, { maxLength: 5 }).map((segments) => `/${segments.join('/')}`)
    const method = fc.constantFrom('PUT', 'DELETE', 'MKCOL', 'MOVE', 'COPY', 'GET', 'PROPFIND')
    await fc.assert(
      fc.asyncProperty(method, path, path, async (name, from, to) => {
        const { status, body } = await ask(name, from, { Destination: to, Depth: '1' }, name === 'PUT' ? 'x' : '')
        expect(status).toBeLessThan(500)
        expect(body.toString()).not.toContain('not yours')
        expect((await readdir(outer)).toSorted()).toEqual(['root', 'secret'])
        expect(await readFile(join(outer, 'secret'), 'utf8')).toBe('not yours')
      }),
      { numRuns: MUTATIONS },
    )
  },
  30_000 + MUTATIONS * 50,
)

it(
  'bytes that are no HTTP end the connection, and only that',
  async () => {
    const request = Buffer.from('PROPFIND / HTTP/1.1\r\nHost: x\r\nDepth: 0\r\nContent-Length: 3\r\n\r\nabc')
    const change = fc.record({ place: fc.nat(request.length - 1), value: fc.nat(255) })
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 5 }), async (changes) => {
        const bytes = Buffer.from(request)
        for (const { place, value } of changes) bytes[place] = value
        const connection = connect()
        connection.on('error', () => {})
        connection.end(bytes)
        connection.destroy()
        expect(await statusOf('OPTIONS', '/')).toBe(200)
      }),
      { numRuns: MUTATIONS },
    )
  },
  30_000 + MUTATIONS * 50,
)
