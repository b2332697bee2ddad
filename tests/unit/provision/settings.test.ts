import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { resolveConfig, type ResolvedVdi } from '../../../framework/config/index.ts'
import { cleanUpDataOf, neededVdi, vdiOptionsOf } from '../../../framework/runner/configured-vdi.ts'
import { DEFAULT_ASSUMPTIONS } from '../../../framework/vdi/index.ts'
import schema from '../../../schemas/config.schema.json' with { type: 'json' }

const minimal = { url: 'https://vdi.example:8088', username: 'admin', password: { env: 'ATP_TEST_VDI' } }
const resolved = (vdi: object, more: object = {}): ResolvedVdi =>
  resolveConfig({ vdi: { ...minimal, ...vdi }, ...more }, '/project').vdi as ResolvedVdi

describe('settings of the platform', () => {
  it('have defaults, absolute paths and milliseconds, and are plain JSON', () => {
    expect(resolved({})).toEqual({
      ...minimal,
      tls: { verify: true },
      timeoutMs: 30_000,
      retries: 3,
      validation: 'tolerant',
      assumptions: {},
      template: undefined,
      hostUri: 'qemu+ssh://{ip}/system',
      hosts: {},
    })
    const hosts = [{ id: 'kvm-1', host: '10.0.0.1' }]
    const full = resolved(
      {
        password: { secret: 'vdi' },
        tls: { ca: 'pki/ca.pem', verify: false },
        timeout: '2m',
        retries: 0,
        validation: 'strict',
        assumptions: { loginClient: null, busyStatuses: [5], eventSuccessValue: 1 },
        template: '办公',
        hostUri: 'qemu+tls://{name}/system',
        hosts: { 主机: 'kvm-1' },
      },
      { hosts, secrets: { vdi: { file: 'secret.txt' } } },
    )
    expect(full).toMatchObject({
      password: { file: 'secret.txt' },
      tls: { ca: '/project/pki/ca.pem', verify: false },
      timeoutMs: 120_000,
    })
    expect(JSON.parse(JSON.stringify(full))).toEqual(full)
    expect(resolveConfig({}, '/project').vdi).toBeUndefined()
  })

  it.each<[object, RegExp]>([
    [{ url: 'https://admin:secret@vdi.example' }, /vdi\.url: it is no plain http or https address(?![^]*secret)/],
    [{ url: 'vdi.example' }, /vdi\.url/],
    [{ timeout: 'soon' }, /vdi\.timeout: "soon" is not a duration/],
    [{ timeout: 0 }, /vdi\.timeout: 0 is no usable time/],
    [{ hostUri: 'qemu+ssh://{address}/system' }, /vdi\.hostUri: it has \{address\}[^]*\{ip\}, \{name\}, \{id\}/],
    [{ hosts: { a: 'kvm-2' } }, /vdi\.hosts\.a: there is no host "kvm-2"[^]*did you mean "kvm-1"/],
    [{ password: { secret: 'vdj' } }, /vdi\.password: there is no secret "vdj"[^]*did you mean "vdi"/],
    [{ password: 'clear' }, /vdi\.password: must be object/],
    [{ password: { env: 'A', file: 'b' } }, /vdi\.password: must NOT have more than 1 properties/],
    [
      { assumptions: { busyStatus: [5] } },
      /vdi\.assumptions: unknown setting "busyStatus"; did you mean "busyStatuses"/,
    ],
    [{ assumptions: { arrayQuery: 'tab' } }, /vdi\.assumptions\.arrayQuery: must be one of repeat, comma, pipe/],
    [{ tsl: {} }, /vdi: unknown setting "tsl"; did you mean "tls"/],
  ])('are refused: %j', (vdi, message) => {
    const more = { hosts: [{ id: 'kvm-1', host: '10.0.0.1' }], secrets: { vdi: { env: 'ATP_TEST_VDI' } } }
    expect(() => resolved(vdi, more)).toThrow(message)
  })

  it('may lead to hosts of a lab', () => {
    expect(resolved({ hosts: { a: 'lab-1' } }, { lab: true }).hosts).toEqual({ a: 'lab-1' })
  })

  it('know every assumption of the client', () => {
    expect(Object.keys(schema.$defs.assumptions.properties).toSorted()).toEqual(
      Object.keys(DEFAULT_ASSUMPTIONS).toSorted(),
    )
    const assumptions = { ...DEFAULT_ASSUMPTIONS }
    expect(resolved({ assumptions }).assumptions).toEqual(assumptions)
  })
})

describe('what is made of them', () => {
  let dir: string
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'atp-vdi-settings-'))
    process.env['ATP_TEST_VDI'] = '密码-42'
  })
  afterEach(() => {
    rmSync(dir, { recursive: true })
    delete process.env['ATP_TEST_VDI']
  })

  it('is a client’s options, with password and certificate read', () => {
    writeFileSync(join(dir, 'ca.pem'), 'certificate')
    const vdi = resolved({ tls: { ca: join(dir, 'ca.pem') }, assumptions: { loginClient: null } })
    const options = vdiOptionsOf(vdi)
    expect(options).toMatchObject({ baseUrl: minimal.url, tls: { ca: 'certificate', verify: true }, retries: 3 })
    expect(options.password.reveal()).toBe('密码-42')
    expect(Object.entries(options.assumptions ?? {})).toEqual([['loginClient', undefined]])
  })

  it('is what a last will needs, to be sent as JSON', () => {
    const data = cleanUpDataOf(resolved({ assumptions: { loginClient: null } }), { poolName: 'desk' })
    expect(JSON.parse(JSON.stringify(data))).toEqual({
      url: minimal.url,
      username: 'admin',
      password: '密码-42',
      tls: { verify: true },
      assumptions: { loginClient: null },
      poolName: 'desk',
    })
  })

  it('fails where a password or a certificate is missing, and where nothing is configured', () => {
    delete process.env['ATP_TEST_VDI']
    expect(() => vdiOptionsOf(resolved({}))).toThrow(/ATP_TEST_VDI is not set/)
    process.env['ATP_TEST_VDI'] = 'x'
    expect(() => vdiOptionsOf(resolved({ tls: { ca: 'nowhere.pem' } }))).toThrow(/vdi\.tls\.ca cannot be read/)
    expect(() => neededVdi(undefined, 'atp.config.ts')).toThrow(/no VDI platform is configured in atp\.config\.ts/)
  })
})
