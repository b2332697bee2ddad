import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { messageOf, Secret } from '../../../framework/core/index.ts'
import { LibvirtClient } from '../../../framework/protocols/libvirt/index.ts'
import { AUTH, REMOTE } from '../../../framework/protocols/libvirt/protocol-numbers.ts'
import { memoryPair } from '../../../framework/transport/index.ts'
import type { ByteStream } from '../../../framework/wire/index.ts'
import { ScramServer } from '../sasl/scram-server.ts'
import { ScriptedDaemon, type Call } from './scripted-daemon.ts'

const PASSWORD = '密码 pencil ª'
const sasl = { user: 'tester', password: new Secret('test', PASSWORD) }

interface Saying {
  complete?: boolean
  /** Undefined: nothing, which is not the same as empty. */
  data?: string
}

/** Characters of C's `char data<>`: four bytes each, signed. */
function readData(call: Call): string | undefined {
  const nothing = call.body.i32() !== 0
  const bytes = Array.from({ length: call.body.count(65_536) }, () => call.body.i32())
  call.body.end()
  expect(bytes.every((byte) => byte >= -128 && byte <= 127)).toBe(true)
  return nothing ? undefined : Buffer.from(bytes.map((byte) => byte & 0xff)).toString()
}

function saying(call: Call, { complete = false, data }: Saying): Buffer {
  return call.reply((writer) => {
    writer
      .i32(complete ? 1 : 0)
      .i32(data === undefined ? 1 : 0)
      .u32(Buffer.byteLength(data ?? ''))
    for (const byte of new Int8Array(Buffer.from(data ?? ''))) writer.i32(byte)
  })
}

/** A daemon that demands SASL; `answers` gives its word for each message of the client, undefined for a refusal. */
function demanding(mechanisms: string, answers: ((said: string | undefined) => Saying | undefined)[]) {
  const [near, far] = memoryPair()
  const daemon = new ScriptedDaemon(far, [AUTH.SASL])
  const said: (string | undefined)[] = []
  let chosen: string | undefined
  daemon.onCall = (call) => {
    if (call.procedure === REMOTE.AUTH_SASL_INIT) {
      return daemon.send(mechanisms === '' ? call.refuse(45) : call.reply((writer) => writer.string(mechanisms)))
    }
    if (call.procedure === REMOTE.AUTH_SASL_START) chosen = call.body.string()
    said.push(readData(call))
    const answer = answers[said.length - 1]?.(said.at(-1))
    daemon.send(answer ? saying(call, answer) : call.refuse(45, 'authentication failed'))
  }
  return { near, daemon, said, chosen: () => chosen }
}

const open = (stream: ByteStream, options = {}) => LibvirtClient.open(stream, { path: '/session', sasl, ...options })
const confidential = (stream: ByteStream): ByteStream => Object.assign(stream, { confidential: true })

/** Everything a report could show of an error. */
async function refusalOf(opening: Promise<LibvirtClient>): Promise<Record<string, unknown>> {
  const error: unknown = await opening.then(
    () => new Error('it was let in'),
    (thrown: unknown) => thrown,
  )
  const shown = `${messageOf(error)} ${inspect(error, { depth: 9 })} ${JSON.stringify(error)}`
  expect(shown).not.toContain(PASSWORD)
  return error as Record<string, unknown>
}

describe('SASL', () => {
  const server = () => new ScramServer(sasl.user, PASSWORD, Buffer.from('salt'), 4096)

  it.each([
    ['in the reply that reports success', true],
    ['before the reply that reports success', false],
  ])('lets in with SCRAM-SHA-256; the daemon proves itself %s', async (_, atOnce) => {
    const scram = server()
    const { near, daemon, said, chosen } = demanding('DIGEST-MD5,SCRAM-SHA-256,PLAIN', [
      (first) => ({ data: scram.first(first ?? '') }),
      (final) => ({ complete: atOnce, data: scram.final(final ?? '') }),
      () => ({ complete: true }),
    ])
    const client = await open(near)
    expect(chosen()).toBe('SCRAM-SHA-256')
    expect(said).toHaveLength(atOnce ? 2 : 3)
    if (!atOnce) expect(said[2]).toBe('')
    expect(said.join()).not.toContain(PASSWORD)
    expect(daemon.opened).toMatchObject({ name: 'qemu:///session' })
    await client.close()
  })

  it('lets in with PLAIN where nobody can listen, and there only', async () => {
    const plain = demanding('PLAIN,LOGIN', [() => ({ complete: true })])
    await (await open(confidential(plain.near))).close()
    expect(plain.said).toEqual([`\0tester\0${PASSWORD}`])
    const open_ = demanding('PLAIN,LOGIN', [])
    expect(await refusalOf(open(open_.near))).toMatchObject({ code: 'ATP_LIBVIRT_AUTH_UNSUPPORTED', retryable: false })
    expect(open_.said).toEqual([])
    await expect.poll(() => open_.daemon.ended, { timeout: 10_000 }).toBe(true)
  })

  it.each([
    ['DIGEST-MD5,GSSAPI', '(DIGEST-MD5, GSSAPI)'],
    ['', '(none at all)'],
  ])('that offers only %j is refused with the list and the ways out', async (mechanisms, list) => {
    const { near } = demanding(mechanisms, [])
    const error = await refusalOf(open(near))
    expect(error).toMatchObject({ code: 'ATP_LIBVIRT_AUTH_UNSUPPORTED', remedy: expect.stringContaining('TLS') })
    expect(error['message']).toContain(list)
  })

  it('that is demanded without a user name and a password says so', async () => {
    const { near, daemon } = demanding('SCRAM-SHA-256', [])
    const error = await refusalOf(open(near, { sasl: undefined }))
    expect(error).toMatchObject({ code: 'ATP_LIBVIRT_AUTH_NEEDED', retryable: false, branch: 'config' })
    await expect.poll(() => daemon.ended, { timeout: 10_000 }).toBe(true)
  })

  it.each([1, 2])('refusal at message %i names the user and the way out', async (at) => {
    const scram = server()
    const { near } = demanding('SCRAM-SHA-256', at === 1 ? [] : [(first) => ({ data: scram.first(first ?? '') })])
    const error = await refusalOf(open(near))
    expect(error).toMatchObject({ code: 'ATP_LIBVIRT_AUTH', retryable: false, context: { libvirtCode: 45 } })
    expect(error['message']).toMatch(/does not let the user "tester" in by SCRAM-SHA-256/)
  })

  const first = (scram: ScramServer) => (said: string | undefined) => ({ data: scram.first(said ?? '') })
  it.each<[string, string, (scram: ScramServer) => ((said: string | undefined) => Saying)[]]>([
    ['claims success at once', 'ATP_SASL_UNTRUSTED', () => [() => ({ complete: true })]],
    ['claims success without proof', 'ATP_SASL_UNTRUSTED', (scram) => [first(scram), () => ({ complete: true })]],
    [
      'proves another password',
      'ATP_SASL_UNTRUSTED',
      (scram) => [first(scram), () => ({ complete: true, data: `v=${btoa('x'.repeat(32))}` })],
    ],
    ['asks for one iteration', 'ATP_SASL_UNTRUSTED', () => [(said) => ({ data: `r=${said?.slice(12)}x,s=AAAA,i=1` })]],
    ['answers another client', 'ATP_SASL_UNTRUSTED', () => [() => ({ data: 'r=other,s=AAAA,i=4096' })]],
    ['sends garbage', 'ATP_SASL_MALFORMED', () => [() => ({ data: '密'.repeat(20_000) })]],
    ['says nothing and wants more', 'ATP_SASL_UNTRUSTED', () => [() => ({})]],
    [
      'refuses in SCRAM’s own words',
      'ATP_SASL_REFUSED',
      (scram) => [first(scram), () => ({ data: 'e=invalid-proof' })],
    ],
    [
      'never ends',
      'ATP_SASL_UNTRUSTED',
      (scram) => [first(scram), (said) => ({ data: scram.final(said ?? '') }), () => ({ data: '' }), () => ({})],
    ],
  ])('of a daemon that %s is given up', async (_, code, answers) => {
    const { near, daemon } = demanding('SCRAM-SHA-256', answers(server()))
    expect(await refusalOf(open(near))).toMatchObject({ code, retryable: false })
    expect(daemon.opened).toBeUndefined()
    await expect.poll(() => daemon.ended, { timeout: 10_000 }).toBe(true)
  })

  it('data longer than any is refused', async () => {
    const { near, daemon } = demanding('SCRAM-SHA-256', [])
    const usual = daemon.onCall
    daemon.onCall = (call) => {
      if (call.procedure !== REMOTE.AUTH_SASL_START) return usual?.(call)
      daemon.send(
        call.reply((writer) =>
          writer
            .i32(0)
            .i32(0)
            .u32(65_537)
            .opaque(Buffer.alloc(65_537 * 4)),
        ),
      )
    }
    expect(await refusalOf(open(near))).toMatchObject({ code: 'ATP_LIBVIRT_PROTOCOL' })
  })

  it('has a time limit for all of it together', async () => {
    const { near, daemon } = demanding('SCRAM-SHA-256', [])
    daemon.onCall = (call) => {
      if (call.procedure === REMOTE.AUTH_SASL_INIT) daemon.send(call.reply((writer) => writer.string('SCRAM-SHA-256')))
    }
    expect(await refusalOf(open(near, { timeoutMs: 50 }))).toMatchObject({ code: 'ATP_LIBVIRT_TIMEOUT' })
  })
})

describe('other ways', () => {
  const opened = async (auth: number[], options = {}) => {
    const [near, far] = memoryPair()
    const daemon = new ScriptedDaemon(far, auth)
    const procedures: number[] = []
    daemon.onCall = (call) => {
      procedures.push(call.procedure)
      daemon.send(call.reply((writer) => writer.i32(1)))
    }
    await (await open(near, options)).close()
    return procedures
  }

  it('polkit is used where no password was given', async () => {
    expect(await opened([AUTH.POLKIT], { sasl: undefined })).toEqual([REMOTE.AUTH_POLKIT])
    expect(await opened([AUTH.SASL, AUTH.POLKIT], { sasl: undefined })).toEqual([REMOTE.AUTH_POLKIT])
  })

  it('a password is kept where nobody asks for it', async () => {
    expect(await opened([AUTH.NONE])).toEqual([])
    expect(await opened([])).toEqual([])
    expect(await opened([AUTH.NONE, AUTH.SASL])).toEqual([])
  })

  it('unknown ones are refused', async () => {
    const [near, far] = memoryPair()
    new ScriptedDaemon(far, [7])
    expect(await refusalOf(open(near))).toMatchObject({ code: 'ATP_LIBVIRT_AUTH_UNSUPPORTED' })
  })
})
