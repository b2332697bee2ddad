import { inspect } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { configure, reset } from '@logtape/logtape'
import { logger, Secret } from '../../../framework/core/index.ts'
import { dial, RISKS } from '../../../framework/hosts/index.ts'
import {
  LibvirtClient,
  parseLibvirtUri,
  type ByteStream,
  type OpenOptions,
} from '../../../framework/protocols/libvirt/index.ts'
import { connectTcp, connectUnix } from '../../../framework/transport/index.ts'
import {
  missingHostPart,
  RemoteHost,
  SASL_PASSWORD,
  SASL_USER,
  tinyDomain,
  type Listener,
} from '../../support/remote-host/index.ts'

const listen: Listener[] = ['sasl-unix', 'sasl-tcp']
const missing = missingHostPart(listen)
if (missing) console.warn(`SASL contract tests are skipped: ${missing}`)

describe.skipIf(missing)('a real daemon that demands a password', () => {
  let host: RemoteHost
  const sasl = { user: SASL_USER, password: new Secret('lab-sasl', SASL_PASSWORD) }

  beforeAll(async () => {
    host = await RemoteHost.start({ listen })
  })
  afterAll(() => host?.stop())

  const open = async (options: Partial<OpenOptions> = {}, stream?: ByteStream) =>
    LibvirtClient.open(stream ?? (await connectUnix(host.daemon.socketPath)), { path: '/session', sasl, ...options })
  const refusal = async (opening: Promise<LibvirtClient>) =>
    opening.then(
      async (client) => client.close().then(() => 'let in'),
      (error: unknown) => error,
    )

  it('lets in who knows it; what follows is not wrapped: calls, events and large texts', async () => {
    const client = await open()
    const events: string[] = []
    await client.onLifecycle(undefined, ({ event, domain }) => events.push(`${domain.name} ${event}`))
    // Longer than a security layer's buffer.
    const remark = `<description>${'长'.repeat(100_000)}</description>`
    const xml = tinyDomain('vm-密').replace('</name>', `</name>${remark}`)
    const vm = await client.createXml(xml, { paused: true, autodestroy: true })
    expect(await client.getXml(vm)).toContain(remark)
    expect(await client.monitorCommand(vm, '{"execute":"query-status"}')).toContain('"running":false')
    await client.resume(vm)
    await expect.poll(() => events, { timeout: 10_000 }).toContain('vm-密 resumed')
    expect(host.virsh('unix', 'list', '--name').trim()).toBe('vm-密')
    await client.close()
  })

  it.each([
    ['wrong password', SASL_USER, 'guess of 密码'],
    ['unknown user', 'nobody,=', SASL_PASSWORD],
  ])('refuses a %s with an error that names the user only', async (_, user, password) => {
    const error = await refusal(open({ sasl: { user, password: new Secret('x', password) } }))
    expect(error).toMatchObject({ code: 'ATP_LIBVIRT_AUTH', retryable: false, context: { libvirtCode: 45 } })
    expect((error as Error).message).toContain(JSON.stringify(user))
    expect(inspect(error, { depth: 9 })).not.toContain(password)
    await (await open()).close()
  })

  it('that nobody gave is asked for by name', async () => {
    expect(await refusal(open({ sasl: undefined }))).toMatchObject({ code: 'ATP_LIBVIRT_AUTH_NEEDED' })
  })

  it('is told to nobody: no log has it, not even before it is redacted', async () => {
    const records: unknown[] = []
    await configure({
      reset: true,
      sinks: { raw: (record) => records.push(record) },
      loggers: [
        { category: ['atp'], lowestLevel: 'trace', sinks: ['raw'] },
        { category: ['logtape', 'meta'], sinks: [] },
      ],
    })
    try {
      logger('protocols').trace('listening')
      const client = await open({ relief: () => connectUnix(host.daemon.socketPath) })
      await client.hostname()
      await client.close()
      await refusal(open({ sasl: { user: SASL_USER, password: new Secret('x', `${SASL_PASSWORD}!`) } }))
    } finally {
      await reset()
    }
    const written = inspect(records, { depth: 9, maxStringLength: null, maxArrayLength: null })
    expect(written).toContain('listening')
    for (const form of [SASL_PASSWORD, Buffer.from(SASL_PASSWORD).toString('base64').slice(0, -4)])
      expect(written).not.toContain(form)
  })

  it('offers nothing usable over plain TCP, which the error explains', async () => {
    const error = await refusal(open({}, await connectTcp({ host: '127.0.0.1', port: host.port('tcp') })))
    expect(error).toMatchObject({
      code: 'ATP_LIBVIRT_AUTH_UNSUPPORTED',
      retryable: false,
      remedy: expect.stringContaining('over plain TCP'),
    })
  })

  it.each([
    ['plain', 'unix', undefined],
    ['plain', 'tcp', 'none at all'],
    ['digest-md5', 'tcp', 'DIGEST-MD5'],
    ['digest-md5', 'unix', 'DIGEST-MD5'],
  ] as const)('by %s over %s', async (mechanism, way, offered) => {
    const database = `sasldb_path: ${host.daemon.root}/sasl/sasldb2`
    host.daemon.file('sasl/libvirt.conf', `mech_list: ${mechanism}\npwcheck_method: auxprop\n${database}\n`)
    await host.restart()
    const info = host.info(way)
    const opened = await refusal(open({}, await dial(parseLibvirtUri(info.uri), { access: info.access })))
    if (offered === undefined) expect(opened).toBe('let in')
    else
      expect(opened).toMatchObject({
        code: 'ATP_LIBVIRT_AUTH_UNSUPPORTED',
        message: expect.stringContaining(`(${offered})`),
      })
  })
})

const secure = ['tls', 'ssh'] as const
const missingSecure = missingHostPart(secure)
if (missingSecure) console.warn(`the test of confidential streams is skipped: ${missingSecure}`)

it.skipIf(missingSecure)('streams are confidential where the peer is known and nobody else reads', async () => {
  const host = await RemoteHost.start({ listen: ['tcp', ...secure] })
  try {
    const told: Record<string, boolean | undefined> = {}
    for (const [way, more] of [
      ['unix', ''],
      ['tcp', ''],
      ['tls', ''],
      ['tls', '&no_verify=1'],
      ['ssh', ''],
      ['ssh', '&no_verify=1'],
    ] as const) {
      const { uri, access } = host.info(way)
      const stream = await dial(parseLibvirtUri(uri + more, { allow: RISKS }), { access })
      told[way + more] = stream.confidential
      await new Promise<void>((resolve) => {
        stream.start({ onData: () => {}, onClose: () => resolve() })
        stream.destroy()
      })
    }
    expect(told).toEqual({
      unix: true,
      tcp: false,
      tls: true,
      'tls&no_verify=1': false,
      ssh: true,
      'ssh&no_verify=1': false,
    })
  } finally {
    await host.stop()
  }
})
