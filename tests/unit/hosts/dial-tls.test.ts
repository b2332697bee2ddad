import { configure, reset } from '@logtape/logtape'
import { once } from 'node:events'
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { createServer, type Server, type TLSSocket } from 'node:tls'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { dial, type HostAccess } from '../../../framework/hosts/index.ts'
import { readTlsFiles, tlsFiles } from '../../../framework/hosts/tls-files.ts'
import { parseLibvirtUri } from '../../../framework/protocols/libvirt/index.ts'
import { LabCa, type Credentials } from '../../support/remote-host/lab-ca.ts'

let folder: string
let ca: string
let own: Credentials
let client: Credentials
const servers: Server[] = []

beforeAll(() => {
  folder = mkdtempSync('/tmp/atp-dial-tls-')
  const authority = new LabCa(folder, 'lab')
  ca = authority.cert
  own = authority.issue('server', { use: 'server', names: ['IP:127.0.0.1'] })
  client = authority.issue('client', { use: 'client' })
})
afterAll(() => rmSync(folder, { recursive: true }))
afterEach(async () => {
  for (const server of servers.splice(0)) {
    if (!server.listening) continue
    server.close()
    await once(server, 'close')
  }
  await reset()
})

/** A daemon that does this with each client that has finished the handshake. */
async function daemon(greet: (socket: TLSSocket, server: Server) => void): Promise<number> {
  const options = { cert: readFileSync(own.cert), key: readFileSync(own.key), ca: readFileSync(ca) }
  const server = createServer({ ...options, requestCert: true, rejectUnauthorized: false }, (socket) => {
    socket.on('error', () => {}).resume()
    greet(socket, server)
  })
  servers.push(server)
  server.on('tlsClientError', () => {})
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

const dialled = (port: number, access: HostAccess = { tls: { ca, ...client } }, timeoutMs = 5000) =>
  dial(parseLibvirtUri(`qemu+tls://127.0.0.1:${port}/system`), { access, timeoutMs })

describe('a daemon over TLS', () => {
  it('admits us by a byte, which is no part of what follows', async () => {
    const port = await daemon((socket) => socket.write(Buffer.from('\x01and more')))
    const stream = await dialled(port)
    const first = await new Promise<string>((resolve) =>
      stream.start({ onData: (chunk) => resolve(Buffer.from(chunk).toString()), onClose: () => {} }),
    )
    expect(first).toBe('and more')
    stream.destroy()
  })

  it('refuses us by ending the connection; it was asked twice', async () => {
    let asked = 0
    const port = await daemon((socket) => {
      asked++
      socket.end()
    })
    const started = performance.now()
    await expect(dialled(port)).rejects.toMatchObject({
      code: 'ATP_TLS_CLIENT_CERTIFICATE',
      retryable: false,
      message: expect.stringContaining('CN=client'),
    })
    expect(performance.now() - started).toBeLessThan(2000)
    expect(asked).toBe(2)
    await expect(dialled(port, { tls: { ca } })).rejects.toMatchObject({
      code: 'ATP_TLS_CLIENT_CERTIFICATE',
      message: expect.stringContaining('none was shown'),
    })
  })

  it('that ends just then is no refusal', async () => {
    const port = await daemon((socket, server) => {
      server.close()
      socket.end()
    })
    await expect(dialled(port)).rejects.toMatchObject({ code: 'ATP_TRANSPORT_CONNECT', retryable: true })
  })

  it('that greets otherwise is none of libvirt’s', async () => {
    const port = await daemon((socket) => socket.write('HTTP/1.1 400 Bad Request'))
    await expect(dialled(port)).rejects.toMatchObject({ code: 'ATP_LIBVIRT_PROTOCOL' })
  })

  it('that stays silent is not waited for', async () => {
    const port = await daemon(() => {})
    await expect(dialled(port, undefined, 200)).rejects.toMatchObject({
      code: 'ATP_TRANSPORT_TIMEOUT',
      message: expect.stringContaining('did not say whether it admits this client'),
    })
  })

  it('is checked, unless that is allowed; then the log says so', async () => {
    const lines: string[] = []
    await configure({
      sinks: { lines: (record) => void lines.push(`${record.level} ${record.message.join('')}`) },
      loggers: [
        { category: 'atp', lowestLevel: 'debug', sinks: ['lines'] },
        { category: ['logtape', 'meta'], lowestLevel: 'error', sinks: [] },
      ],
    })
    const port = await daemon((socket) => socket.write(Buffer.of(1)))
    const stranger = new LabCa(mkdtempSync(`${folder}/stranger-`), 'stranger').cert
    const access = { tls: { ca: stranger } }
    await expect(dialled(port, access)).rejects.toMatchObject({ code: 'ATP_TLS_UNKNOWN_CA' })
    expect(lines.filter((line) => line.startsWith('warning'))).toEqual([])
    const uri = `qemu+tls://127.0.0.1:${port}/system?no_verify=1`
    const stream = await dial(parseLibvirtUri(uri, { allow: ['no_verify'] }), { access })
    stream.destroy()
    expect(lines.filter((line) => line.startsWith('warning'))).toEqual([expect.stringContaining(uri)])
    expect(lines.filter((line) => line.startsWith('debug'))).toContainEqual(expect.stringContaining('connected in'))
  })
})

describe('the files for TLS', () => {
  const SYSTEM = { ca: '/etc/pki/CA/cacert.pem' }
  let home: string
  beforeAll(() => {
    home = mkdtempSync(`${folder}/home-`)
    mkdirSync(`${home}/.pki/libvirt`, { recursive: true })
  })
  const put = (...names: string[]) => {
    for (const name of names) writeFileSync(`${home}/.pki/libvirt/${name}.pem`, '')
  }
  const mine = (name: string) => `${home}/.pki/libvirt/${name}.pem`
  const found = (root = false) => tlsFiles({ env: { HOME: home }, root })

  it('are the machine’s where the user has none, the user’s one by one, and a client certificate only with its key', () => {
    expect(found()).toMatchObject(SYSTEM)
    put('cacert')
    expect(found()).toMatchObject({ ca: mine('cacert'), crl: undefined })
    put('clientcert')
    expect(found().cert).not.toBe(mine('clientcert'))
    put('clientkey', 'cacrl')
    expect(found()).toEqual({
      ca: mine('cacert'),
      crl: mine('cacrl'),
      cert: mine('clientcert'),
      key: mine('clientkey'),
    })
    expect(found(true)).toMatchObject(SYSTEM)
  })

  it('are those of pkipath, and of no other place', () => {
    const pkipath = mkdtempSync(`${folder}/pki-`)
    expect(tlsFiles({ env: { HOME: home }, root: false, pkipath })).toEqual({
      ca: `${pkipath}/cacert.pem`,
      crl: undefined,
      cert: undefined,
      key: undefined,
    })
  })

  it('are those given for the host, before all others', () => {
    expect(tlsFiles({ env: { HOME: home }, root: false, tls: { ca: '/a', cert: '/b', key: '/c' } })).toMatchObject({
      ca: '/a',
      cert: '/b',
      key: '/c',
    })
    expect(tlsFiles({ env: { HOME: home }, root: false, tls: { cert: '/b' } }).key).toBeUndefined()
  })

  it('say what is missing', async () => {
    await expect(dialled(1, { tls: { ca: '/nonexistent/ca.pem' } })).rejects.toMatchObject({
      code: 'ATP_TLS_FILE',
      message: expect.stringContaining('CA certificate /nonexistent/ca.pem cannot be read: ENOENT'),
      remedy: expect.stringContaining('pkipath'),
    })
    await expect(dialled(1, { tls: { ca, cert: client.cert } })).rejects.toMatchObject({ code: 'ATP_TLS_FILE' })
    await expect(dialled(1, { tls: { ca: client.key } })).rejects.toMatchObject({ code: 'ATP_TLS_FILE' })
  })

  it('are read', async () => {
    copyFileSync(ca, `${folder}/crl.pem`)
    expect(await readTlsFiles({ ca, crl: `${folder}/crl.pem`, ...client })).toEqual({
      ca: readFileSync(ca, 'utf8'),
      crl: readFileSync(ca, 'utf8'),
      cert: readFileSync(client.cert, 'utf8'),
      key: readFileSync(client.key, 'utf8'),
    })
  })
})
