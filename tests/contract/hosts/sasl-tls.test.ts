import { inspect } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Secret } from '../../../framework/core/index.ts'
import { missingHostPart, openClient, RemoteHost, SASL_USER } from '../../support/remote-host/index.ts'

const missing = missingHostPart(['sasl-tls'])
if (missing) console.warn(`tests of SASL over TLS are skipped: ${missing}`)

describe.skipIf(missing)('a daemon that demands a password over TLS', () => {
  let host: RemoteHost

  beforeAll(async () => {
    host = await RemoteHost.start({ listen: ['sasl-tls'] })
  })
  afterAll(async () => {
    await host?.stop()
  })

  it('lets in whom it knows, as it does virsh', async () => {
    const client = await openClient(host.info('tls'))
    expect(await client.hostname()).toBe(host.virsh('tls', 'hostname').trim())
    await client.close()
  })

  it('demands it besides the certificate', async () => {
    const info = host.info('tls')
    await expect(openClient({ ...info, access: {} })).rejects.toMatchObject({ code: 'ATP_LIBVIRT_AUTH_NEEDED' })
    const password = 'not this one'
    const sasl = { user: SASL_USER, password: new Secret('guess', password) }
    const error: unknown = await openClient({ ...info, access: { sasl } }).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'ATP_LIBVIRT_AUTH', retryable: false })
    expect(inspect(error, { depth: 9 })).not.toContain(password)
  })
})
