import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Secret } from '../../../framework/core/index.ts'
import { chooseMechanism, Plain, ScramSha256, type SaslMechanism } from '../../../framework/protocols/sasl/index.ts'
import { saslprep } from '../../../framework/protocols/sasl/saslprep.ts'
import { ScramServer } from './scram-server.ts'

const bytes = (text: string) => new TextEncoder().encode(text)
const text = (message: Uint8Array | undefined) => new TextDecoder().decode(message)
const credentials = (user: string, password: string) => ({ user, password: new Secret('password', password) })

/** RFC 7677 §3. */
const RFC = {
  nonce: 'rOprNGfwEbeRWgbNEkqO',
  first: 'n,,n=user,r=rOprNGfwEbeRWgbNEkqO',
  serverFirst: 'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096',
  final: 'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
  serverFinal: 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=',
}
const rfcClient = () => new ScramSha256(credentials('user', 'pencil'), RFC.nonce)

describe('SCRAM-SHA-256', () => {
  it('says what RFC 7677 shows', async () => {
    const scram = rfcClient()
    expect(text(scram.start())).toBe(RFC.first)
    expect(text(await scram.step(bytes(RFC.serverFirst)))).toBe(RFC.final)
    expect(scram.done).toBe(false)
    expect(await scram.step(bytes(RFC.serverFinal))).toHaveLength(0)
    expect(scram.done).toBe(true)
    await expect(scram.step(bytes(RFC.serverFinal))).rejects.toMatchObject({ code: 'ATP_SASL_MALFORMED' })
    expect(scram.done).toBe(false)
  })

  it('agrees with a server on any user, password, salt and count', async () => {
    const printable = fc
      .string({ unit: 'grapheme', minLength: 1, maxLength: 12 })
      .filter((value) => accepted(value) && saslprep('user', value) === value.normalize('NFKC'))
    await fc.assert(
      fc.asyncProperty(
        printable,
        printable,
        fc.uint8Array({ minLength: 1, maxLength: 64 }),
        fc.integer({ min: 4096, max: 4200 }),
        async (user, password, salt, iterations) => {
          const server = new ScramServer(user, password, salt, iterations)
          const scram = new ScramSha256(credentials(user, password))
          const first = await scram.step(bytes(server.first(text(scram.start()))))
          expect(await scram.step(bytes(server.final(text(first))))).toHaveLength(0)
          expect(scram.done).toBe(true)
        },
      ),
      { numRuns: 60 },
    )
  })

  it('takes a new nonce each time', () => {
    const [one, other] = [0, 1].map(() => text(new ScramSha256(credentials('user', 'pencil')).start()))
    expect(one).not.toBe(other)
    expect(one).toMatch(/^n,,n=user,r=[A-Za-z0-9+/]{32}$/)
  })

  it('writes commas and equals signs of a user so that they end nothing', () => {
    const first = text(new ScramSha256(credentials('a,b=c,r=x', 'pencil'), 'N').start())
    expect(first).toBe('n,,n=a=2Cb=3Dc=2Cr=3Dx,r=N')
  })

  it.each([
    ['a nonce that is another’s', 'r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096', 'ATP_SASL_UNTRUSTED'],
    ['only our own nonce', `r=${RFC.nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096`, 'ATP_SASL_UNTRUSTED'],
    ['4095 iterations', `r=${RFC.nonce}x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4095`, 'ATP_SASL_UNTRUSTED'],
    ['1 iteration', `r=${RFC.nonce}x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=1`, 'ATP_SASL_UNTRUSTED'],
    ['1,000,001 iterations', `r=${RFC.nonce}x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=1000001`, 'ATP_SASL_UNTRUSTED'],
    ['4 billion iterations', `r=${RFC.nonce}x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4294967295`, 'ATP_SASL_UNTRUSTED'],
    ['a negative count', `r=${RFC.nonce}x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=-4096`, 'ATP_SASL_MALFORMED'],
    ['a count in hexadecimal', `r=${RFC.nonce}x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=0x2000`, 'ATP_SASL_MALFORMED'],
    ['a count of 40 digits', `r=${RFC.nonce}x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=${'9'.repeat(40)}`, 'ATP_SASL_MALFORMED'],
    ['no salt', `r=${RFC.nonce}x,s=,i=4096`, 'ATP_SASL_MALFORMED'],
    ['a salt that is no base64', `r=${RFC.nonce}x,s=W22Z*,i=4096`, 'ATP_SASL_MALFORMED'],
    ['another order', `s=W22ZaJ0SNY7soEsUEjb6gQ==,r=${RFC.nonce}x,i=4096`, 'ATP_SASL_MALFORMED'],
    ['an extension we must understand', `m=x,${RFC.serverFirst}`, 'ATP_SASL_MALFORMED'],
    ['nothing', '', 'ATP_SASL_MALFORMED'],
    ['its last message first', RFC.serverFinal, 'ATP_SASL_MALFORMED'],
    ['a megabyte', `${RFC.serverFirst},x=${'y'.repeat(1_000_000)}`, 'ATP_SASL_MALFORMED'],
    ['an error', 'e=unknown-user', 'ATP_SASL_REFUSED'],
  ])('refuses %s as the first message', async (_, message, code) => {
    const scram = rfcClient()
    scram.start()
    await expect(scram.step(bytes(message))).rejects.toMatchObject({ code, retryable: false })
    expect(scram.done).toBe(false)
    await expect(scram.step(bytes(RFC.serverFirst))).rejects.toMatchObject({ code: 'ATP_SASL_MALFORMED' })
  })

  it('takes extensions that need not be understood', async () => {
    const scram = rfcClient()
    expect(text(await scram.step(bytes(`${RFC.serverFirst},x=later`)))).toMatch(/^c=biws,/)
  })

  it.each([
    ['a signature of another password', `v=${btoa('\0'.repeat(32))}`, 'ATP_SASL_UNTRUSTED'],
    ['half a signature', 'v=6rriTRBi23WpRR/wtup+mA==', 'ATP_SASL_UNTRUSTED'],
    ['an empty signature', 'v=', 'ATP_SASL_UNTRUSTED'],
    ['no signature', '', 'ATP_SASL_MALFORMED'],
    ['something else', 'x=1', 'ATP_SASL_MALFORMED'],
    ['bytes that are no text', '\ud800', 'ATP_SASL_MALFORMED'],
    ['a refusal', 'e=invalid-proof', 'ATP_SASL_REFUSED'],
    ['a refusal that wants to write lines of its own', 'e=no\n✓ passed', 'ATP_SASL_REFUSED'],
  ])('does not believe %s', async (_, message, code) => {
    const scram = rfcClient()
    await scram.step(bytes(RFC.serverFirst))
    const end = scram.step(message === '\ud800' ? Uint8Array.of(0x76, 0x3d, 0xff) : bytes(message))
    const error: Error = await end.then(
      () => new Error('believed'),
      (thrown: Error) => thrown,
    )
    expect(error).toMatchObject({ code })
    expect(error.message).not.toContain('passed')
    expect(scram.done).toBe(false)
  })

  it('is through with any bytes at all: an answer or a typed error', async () => {
    const attribute = fc.tuple(fc.constantFrom('r', 's', 'i', 'v', 'e', 'm', 'x'), fc.string({ maxLength: 20 }))
    const message = fc.oneof(
      fc.uint8Array({ maxLength: 100 }),
      fc.array(attribute, { maxLength: 5 }).map((list) => bytes(list.map(([key, value]) => `${key}=${value}`).join())),
      fc.string({ maxLength: 40 }).map((junk) => bytes(`r=${RFC.nonce}${junk}`)),
    )
    await fc.assert(
      fc.asyncProperty(message, message, async (one, two) => {
        const scram = rfcClient()
        for (const challenge of [one, two]) {
          await scram.step(challenge).catch((error: unknown) => {
            expect(['ATP_SASL_MALFORMED', 'ATP_SASL_UNTRUSTED', 'ATP_SASL_REFUSED']).toContain(
              (error as { code: string }).code,
            )
          })
        }
        expect(scram.done).toBe(false)
      }),
      { numRuns: 500 },
    )
  })

  it('leaves the event loop to others while it derives the key', async () => {
    const scram = rfcClient()
    let settled = false
    let turns = 0
    const step = scram.step(bytes(`r=${RFC.nonce}x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=1000000`))
    void step.finally(() => (settled = true))
    while (!settled) {
      turns++
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(turns).toBeGreaterThan(100)
    expect(text(await step)).toMatch(/^c=biws,r=.*,p=/)
  })
})

describe('PLAIN', () => {
  it('is the bytes of RFC 4616, and has nothing more to say', async () => {
    const plain: SaslMechanism = new Plain(credentials('tim', '密码tanstaaftanstaaf'))
    expect(plain.done).toBe(false)
    expect(text(plain.start())).toBe('\0tim\0密码tanstaaftanstaaf')
    expect(plain.done).toBe(true)
    await expect(plain.step(bytes('more'))).rejects.toMatchObject({ code: 'ATP_SASL_MALFORMED' })
  })
})

describe('the choice of a mechanism', () => {
  const me = credentials('user', 'pencil')
  it.each([
    [['PLAIN', 'DIGEST-MD5', 'SCRAM-SHA-256'], true, 'SCRAM-SHA-256'],
    [['SCRAM-SHA-256'], false, 'SCRAM-SHA-256'],
    [['LOGIN', 'PLAIN'], true, 'PLAIN'],
  ])('of %j (confidential: %s) is %s', (offered, confidential, name) => {
    expect(chooseMechanism(offered, me, { confidential }).name).toBe(name)
  })

  it.each([
    [['PLAIN', 'LOGIN'], false],
    [['DIGEST-MD5', 'GSSAPI', 'SCRAM-SHA-1'], true],
    [['scram-sha-256'], true],
    [[], true],
  ])('of %j (confidential: %s) is refused with the list', (offered, confidential) => {
    const choose = () => chooseMechanism(offered, me, { confidential })
    expect(choose).toThrow(expect.objectContaining({ code: 'ATP_SASL_NO_MECHANISM', context: { offered } }))
    expect(choose).toThrow(offered.join(', ') || 'none')
  })
})

describe('saslprep', () => {
  it.each([
    ['I\u00adX', 'IX'],
    ['user', 'user'],
    ['USER', 'USER'],
    ['\u00aa', 'a'],
    ['\u2168', 'IX'],
    ['a\u00a0b\u3000c', 'a b c'],
    ['密码', '密码'],
    ['ｐａｓｓ', 'pass'],
  ])('makes %j %j', (from, to) => {
    expect(saslprep('user', from)).toBe(to)
  })

  it.each(['\u0007', 'a\0b', 'a\nb', '\ue000', '\ufdd0', '\ud800', 'a\u200eb', '\ufffd', '\u{e0041}', '', '\u00ad'])(
    'refuses %j without showing it',
    (value) => {
      expect(() => saslprep('password', `${value}`)).toThrow(expect.objectContaining({ code: 'ATP_SASL_CREDENTIALS' }))
      expect(() => saslprep('password', `${value}`)).toThrow(/^SASL: the password /)
    },
  )

  it('gives what it would give again', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }).filter(accepted), (value) => {
        const once = saslprep('user', value)
        expect(saslprep('user', once)).toBe(once)
      }),
    )
  })
})

function accepted(value: string): boolean {
  try {
    return saslprep('user', value) !== ''
  } catch {
    return false
  }
}
