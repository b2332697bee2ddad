import { readFileSync } from 'node:fs'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { createServer, type TlsOptions } from 'node:tls'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { isAtpError } from '../../../framework/core/index.ts'
import type { HostInfo } from '../../../framework/hosts/index.ts'
import {
  missingHostPart,
  newResources,
  openClient,
  ownResources,
  PausableProxy,
  RemoteHost,
} from '../../support/remote-host/index.ts'

/** However the two sides find out, whoever waits must know by then. */
const REFUSED_MS = 2000

const missing = missingHostPart(['tls'])
if (missing) console.warn(`tests of TLS are skipped: ${missing}`)

/** Waits for a refusal and says why it came; it must come in time and leave nothing behind. */
async function refusal(info: HostInfo): Promise<Error & { code: string }> {
  const before = ownResources()
  const started = performance.now()
  const outcome = await openClient(info).then(
    () => undefined,
    (error: unknown) => error,
  )
  expect(performance.now() - started).toBeLessThan(REFUSED_MS)
  if (!isAtpError(outcome)) throw new Error(`not refused with an error of ours: ${String(outcome)}`)
  await expect.poll(() => newResources(before), { timeout: 5000 }).toEqual([])
  return outcome
}

describe.skipIf(missing)('TLS', () => {
  let host: RemoteHost

  beforeAll(async () => {
    host = await RemoteHost.start({ listen: ['tls'] })
  })
  afterAll(async () => {
    await host?.stop()
  })

  /** The host without the folder of its URI: only the given files count. */
  function withFiles(tls: { ca?: string; cert?: string; key?: string }, port = host.port('tls')): HostInfo {
    return { id: 'lab', uri: `qemu+tls://127.0.0.1:${port}/session`, access: { tls } }
  }
  const clientFiles = () => ({ ca: host.tls.ca.cert, ...host.tls.client })

  it('takes its files from the access of the host, or from the folder of the URI', async () => {
    for (const info of [withFiles(clientFiles()), host.info('tls')]) {
      const client = await openClient(info)
      expect(await client.hostname()).toBe(host.virsh('tls', 'hostname').trim())
      await client.close()
    }
  })

  it('refuses a server whose certificate another CA signed', async () => {
    const error = await refusal(withFiles({ ...clientFiles(), ca: host.tls.foreignCa.cert }))
    expect(error.code).toBe('ATP_TLS_UNKNOWN_CA')
  })

  it('refuses a server whose certificate is for another name', async () => {
    const elsewhere = await PausableProxy.start({ host: '127.0.0.1', port: host.port('tls') }, { host: '127.0.0.2' })
    try {
      const uri = `qemu+tls://127.0.0.2:${elsewhere.port}/session`
      const error = await refusal({ id: 'lab', uri, access: { tls: clientFiles() } })
      expect(error).toMatchObject({ code: 'ATP_TLS_NAME', message: expect.stringContaining('127.0.0.2') })
    } finally {
      await elsewhere.stop()
    }
  })

  it('refuses a server whose certificate has expired', async () => {
    const expired = await RemoteHost.start({ listen: ['tls'], certificate: 'expired' })
    try {
      expect((await refusal(expired.info('tls'))).code).toBe('ATP_TLS_EXPIRED')
      expect(() => expired.virsh('tls', 'uri')).toThrow()
    } finally {
      await expired.stop()
    }
  })

  it('says that the daemon wants a client certificate', async () => {
    const error = await refusal(withFiles({ ca: host.tls.ca.cert }))
    expect(error).toMatchObject({
      code: 'ATP_TLS_CLIENT_CERTIFICATE',
      message: expect.stringContaining('none was shown'),
    })
  })

  it('says that the daemon does not accept a client certificate', async () => {
    const error = await refusal(withFiles({ ca: host.tls.ca.cert, ...host.tls.foreignClient }))
    expect(error).toMatchObject({
      code: 'ATP_TLS_CLIENT_CERTIFICATE',
      message: expect.stringContaining('foreign-client'),
    })
  })

  it('says that the daemon does not admit the holder of a good certificate', async () => {
    const choosy = await RemoteHost.start({ listen: ['tls'], config: ['tls_allowed_dn_list = ["CN=somebody-else"]'] })
    try {
      const error = await refusal(choosy.info('tls'))
      expect(error).toMatchObject({
        code: 'ATP_TLS_CLIENT_CERTIFICATE',
        message: expect.stringContaining('lab-client'),
      })
      expect(() => choosy.virsh('tls', 'uri')).toThrow()
    } finally {
      await choosy.stop()
    }
  })

  it('connects to a daemon that asks nobody for a certificate', async () => {
    const open = await RemoteHost.start({ listen: ['tls'], config: ['tls_no_verify_certificate = 1'] })
    try {
      const info = { id: 'lab', uri: `qemu+tls://127.0.0.1:${open.port('tls')}/session` }
      const client = await openClient({ ...info, access: { tls: { ca: open.tls.ca.cert } } })
      expect(await client.listDomains()).toEqual([])
      await client.close()
    } finally {
      await open.stop()
    }
  })

  it('leaves a server unverified only where that is allowed', async () => {
    const uri = `qemu+tls://127.0.0.1:${host.port('tls')}/session?no_verify=1`
    const access = { tls: { ...clientFiles(), ca: host.tls.foreignCa.cert } }
    expect((await refusal({ id: 'lab', uri, access })).code).toBe('ATP_LIBVIRT_URI')
    const client = await openClient({ id: 'lab', uri, access: { ...access, allow: ['no_verify'] } })
    expect(await client.listDomains()).toEqual([])
    await client.close()
  })

  it('refuses files that are missing or none', async () => {
    const key = host.tls.client.key
    const none = `${host.daemon.root}/none.pem`
    for (const tls of [
      { ...clientFiles(), ca: none },
      { ...clientFiles(), key: none },
      { ...clientFiles(), ca: key },
      { ...clientFiles(), key: host.tls.foreignClient.key },
    ]) {
      const error = await refusal(withFiles(tls))
      expect(error).toMatchObject({ branch: 'config', remedy: expect.any(String) })
      expect(error.message).not.toContain(readFileSync(key, 'utf8').split('\n')[1])
    }
  })

  describe('against servers libvirt is not', () => {
    async function withServer(options: TlsOptions, check: (port: number) => Promise<void>): Promise<void> {
      const server = createServer({
        cert: readFileSync(serverFiles().cert),
        key: readFileSync(serverFiles().key),
        ...options,
      })
      server.on('tlsClientError', () => {})
      server.on('secureConnection', (socket) => socket.on('error', () => {}))
      server.listen(0, '127.0.0.1')
      await once(server, 'listening')
      try {
        await check((server.address() as AddressInfo).port)
      } finally {
        await new Promise((closed) => server.close(closed))
      }
    }
    const serverFiles = () => host.tls.server

    it('refuses one that speaks nothing newer than TLS 1.1', async () => {
      const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } as const
      await withServer(old, async (port) => {
        expect((await refusal(withFiles(clientFiles(), port))).code).toBe('ATP_TLS_HANDSHAKE')
      })
    })

    it('speaks TLS 1.2 with one that knows nothing newer, and notices that it is no libvirt daemon', async () => {
      await withServer({ maxVersion: 'TLSv1.2' }, async (port) => {
        const info = withFiles(clientFiles(), port)
        await expect(openClient(info, { timeoutMs: 500 })).rejects.toMatchObject({ branch: 'timeout' })
      })
    })

    it('refuses one that speaks no TLS', async () => {
      const plain = await RemoteHost.start({ listen: ['tcp'] })
      try {
        const info = withFiles(clientFiles(), plain.port('tcp'))
        await expect(openClient(info, { timeoutMs: REFUSED_MS })).rejects.toMatchObject({
          context: { peer: expect.any(String) },
        })
      } finally {
        await plain.stop()
      }
    })
  })
})
