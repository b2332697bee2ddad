import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { loadConfig, resolveConfig } from '../../../framework/config/index.ts'

let dir: string
beforeEach(() => void (dir = mkdtempSync(join(tmpdir(), 'atp-config-'))))
afterEach(() => rmSync(dir, { recursive: true }))

describe('configuration', () => {
  it('fills in defaults and reads durations', () => {
    const config = resolveConfig({ lab: true, timeouts: { test: '90s', step: 1500 } }, dir)
    expect(config.timeouts).toMatchObject({ test: 90_000, step: 1500, lease: 120_000 })
    expect(config.lab).toEqual({})
    expect(config.report.allure?.results).toBe(join(dir, 'allure-results'))
  })

  it('films failed tests unless evidence or video is off', () => {
    const videoOf = (settings: object) => resolveConfig(settings, dir).video
    expect([videoOf({}), videoOf({ evidence: 'on' }), videoOf({ evidence: 'off' })]).toEqual([
      'on-failure',
      'on-failure',
      'off',
    ])
    expect(videoOf({ evidence: 'off', video: 'on-failure' })).toBe('on-failure')
    expect(videoOf({ video: 'off' })).toBe('off')
    expect(() => videoOf({ video: 'on' })).toThrow(/video: must be one of off, on-failure/)
  })

  it('uses the lab without a file', async () => {
    expect(await loadConfig(dir)).toMatchObject({ file: undefined, lab: {} })
  })

  it('names an unknown setting, its place and the one that was meant', () => {
    expect(() => resolveConfig({ timeouts: { tset: '1s' } }, dir)).toThrow(
      /timeouts: unknown setting "tset"; did you mean "test"\?/,
    )
    expect(() => resolveConfig({ retrys: 1 }, dir)).toThrow(/top level: unknown setting "retrys"; did you mean "retry"/)
  })

  it('reports every problem at once', () => {
    const wrong = { retry: -1, hosts: [{ id: 'a' }], evidence: 'sometimes' }
    expect(() => resolveConfig(wrong, dir)).toThrow(
      /hosts\[0\]: must have "host" or "uri"[\s\S]*retry[\s\S]*evidence: must be one of off, on, on-failure/,
    )
  })

  it('takes the stand-in for a platform, and says of other values what may stand there', () => {
    expect(resolveConfig({ vdi: 'lab' }, dir)).toMatchObject({ vdi: 'lab', lab: undefined })
    expect(() => resolveConfig({ vdi: 'lob' }, dir)).toThrow(
      /is not valid:\n  vdi: must be "lab"\n  vdi: must be object$/,
    )
    expect(() => resolveConfig({ vdi: { url: 'https://a', username: 'b' } }, dir)).toThrow(
      /is not valid:\n  vdi: must have required property 'password'$/,
    )
    expect(() => resolveConfig({ lab: { host: 2 } }, dir)).toThrow(/is not valid:\n  lab: unknown setting "host"/)
  })

  it('says where verifier agents connect', () => {
    const resolve = (verification: object) => resolveConfig({ verification }, dir).verification
    expect(resolve({ websocket: true, tcp: { host: '0.0.0.0', port: 0, allow: ['plain'] }, unix: 'v.sock' })).toEqual({
      listeners: [
        { transport: 'websocket', host: '127.0.0.1', port: 8765, tls: undefined, allowPlain: false },
        { transport: 'tcp', host: '0.0.0.0', port: 0, tls: undefined, allowPlain: true },
        { transport: 'unix', path: join(dir, 'v.sock') },
      ],
      token: undefined,
      agents: {},
      connectionTimeoutMs: 10_000,
    })
    expect(resolveConfig({}, dir).verification).toBeUndefined()
    const agents = { 'desk-7': { vm: 'office', token: { file: 'own' } } }
    const tls = { cert: 'a.crt', key: 'a.key' }
    expect(resolve({ websocket: { tls }, token: { env: 'T' }, agents, connectionTimeout: '1m' })).toMatchObject({
      listeners: [{ tls: { cert: join(dir, 'a.crt'), key: join(dir, 'a.key') } }],
      token: { env: 'T' },
      agents: { 'desk-7': { vm: 'office', token: { file: join(dir, 'own') } } },
      connectionTimeoutMs: 60_000,
    })
    expect(() => resolve({ token: { secret: 'none' } })).toThrow(/verification\.token: there is no secret "none"/)
    expect(() => resolve({ connectionTimeout: 'soon' })).toThrow(/verification\.connectionTimeout.*"soon"/)
    expect(() => resolve({ websocket: { prot: 1 } })).toThrow(/websocket: unknown setting "prot"/)
  })

  it('refuses a bad duration and a host id used twice', () => {
    expect(() => resolveConfig({ timeouts: { test: 'soon' } }, dir)).toThrow(/timeouts\.test.*"soon" is not a duration/)
    const hosts = [1, 2].map(() => ({ id: 'kvm', uri: 'qemu:///system' }))
    expect(() => resolveConfig({ hosts }, dir)).toThrow(/"kvm" is used twice/)
  })

  it('names the file that is missing, broken or without a default export', async () => {
    await expect(loadConfig(dir, 'nowhere.ts')).rejects.toMatchObject({ code: 'ATP_CONFIG_MISSING' })
    writeFileSync(join(dir, 'broken.ts'), 'export default {')
    await expect(loadConfig(dir, 'broken.ts')).rejects.toMatchObject({ code: 'ATP_CONFIG_LOAD' })
    writeFileSync(join(dir, 'empty.ts'), 'export const config = {}')
    await expect(loadConfig(dir, 'empty.ts')).rejects.toThrow(/no default export/)
  })
})
