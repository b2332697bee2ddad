import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Secret } from '../../../framework/core/index.ts'
import { chooseMechanism, Plain, ScramSha256, type SaslMechanism } from '../../../framework/protocols/sasl/index.ts'
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
const rfcClient = () => new ScramSha256(credentials('user', 'pencil'), 'here', RFC.nonce)

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
    const printable = fc.string({ unit: 'binary', minLength: 1, maxLength: 12 }).filter(bearable)
    await fc.assert(
      fc.asyncProperty(
        printable,
        printable,
        fc.uint8Array({ minLength: 1, maxLength: 64 }),
        fc.integer({ min: 4096, max: 4200 }),
        async (user, password, salt, iterations) => {
          const server = new ScramServer(user, password, salt, iterations)
          const scram = new ScramSha256(credentials(user, password), 'here')
          const first = await scram.step(bytes(server.first(text(scram.start()))))
          expect(await scram.step(bytes(server.final(text(first))))).toHaveLength(0)
          expect(scram.done).toBe(true)
        },
      ),
      { numRuns: 60 },
    )
  })

  it('takes a new nonce each time', () => {
    const [one, other] = [0, 1].map(() => text(new ScramSha256(credentials('user', 'pencil'), 'here').start()))
    expect(one).not.toBe(other)
    expect(one).toMatch(/^n,,n=user,r=[A-Za-z0-9+/]{32}$/)
  })

  it('writes commas and equals signs of a user so that they end nothing', () => {
    const first = text(new ScramSha256(credentials('a,b=c,r=x', 'pencil'), 'here', 'N').start())
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
    const plain: SaslMechanism = new Plain(credentials('tim', '密码tanstaaftanstaaf'), 'here')
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
    expect(chooseMechanism(offered, me, { server: 'here', confidential }).name).toBe(name)
  })

  it.each([
    [['PLAIN', 'LOGIN'], false],
    [['DIGEST-MD5', 'GSSAPI', 'SCRAM-SHA-1'], true],
    [['scram-sha-256'], true],
    [[], true],
  ])('of %j (confidential: %s) is refused with the list', (offered, confidential) => {
    const choose = () => chooseMechanism(offered, me, { server: 'here', confidential })
    expect(choose).toThrow(expect.objectContaining({ code: 'ATP_SASL_NO_MECHANISM', context: { offered } }))
    expect(choose).toThrow(`here offers the SASL mechanisms ${offered.join(', ') || 'none'};`)
  })
})

describe('user and password', () => {
  it.each(['a\0b', 'a\n', '\u0007', '\u0085', '\ud800', ''])('%j are refused without being shown', (value) => {
    const refused = expect.objectContaining({
      code: 'ATP_SASL_CREDENTIALS',
      message: expect.stringMatching(/^SASL: the password .*\n {2}→ /),
    })
    expect(() => new ScramSha256(credentials('user', value), 'here')).toThrow(refused)
    expect(() => new Plain(credentials('user', value), 'here')).toThrow(refused)
    expect(() => new Plain(credentials(value, 'pencil'), 'here')).toThrow('the user ')
  })
})

const bearable = (value: string) => value !== '' && value.isWellFormed() && !/\p{Cc}/u.test(value)
