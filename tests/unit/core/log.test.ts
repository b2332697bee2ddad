import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterEach, describe, expect, it, vi } from 'vitest'
import {
  addRedaction,
  configureLogging,
  isAtpError,
  logger,
  remoteError,
  Secret,
  type AtpError,
  type LogRoom,
} from '../../../framework/core/index.ts'
import { pageOf } from '../docs/pages.ts'

const ROOT = resolve(import.meta.dirname, '../../..')

afterEach(async () => {
  vi.restoreAllMocks()
  await configureLogging('warning')
})

/** What is printed while each room logs its name at each level. */
async function printed(spec: string, rooms: LogRoom[], write?: () => void): Promise<string[]> {
  const lines: string[] = []
  vi.spyOn(process.stderr, 'write').mockImplementation((chunk) => {
    lines.push(String(chunk))
    return true
  })
  await configureLogging(spec)
  for (const room of rooms) for (const level of ['debug', 'info', 'warning'] as const) logger(room)[level](level)
  write?.()
  return lines
}

const SHORT = /^\S+Z (\w+) +\d+ ([\w-]+): (.*)\n$/s
const brief = (lines: string[]) => lines.map((line) => SHORT.exec(line)?.slice(2).join(' '))

describe('ATP_LOG', () => {
  it('is one level for all, or a level for each room', async () => {
    expect(brief(await printed('info', ['hosts']))).toEqual(['hosts info', 'hosts warning'])
    const lines = await printed('hosts=debug, protocols=info', ['hosts', 'leases', 'protocols'])
    expect(brief(lines)).toEqual([
      'hosts debug',
      'hosts info',
      'hosts warning',
      'leases warning',
      'protocols info',
      'protocols warning',
    ])
  })

  it('gives a room’s level to the rooms in it', async () => {
    const lines = await printed('protocols=info', [
      'libvirt',
      'qmp',
      'qga',
      'virtio-serial',
      'sasl',
      'spice',
      'transport',
    ])
    expect(brief(lines)).toEqual([
      ...['libvirt', 'qmp', 'qga', 'virtio-serial', 'sasl', 'spice'].flatMap((room) => [
        `${room} info`,
        `${room} warning`,
      ]),
      'transport warning',
    ])
  })

  it('lets the inner room have a level of its own, more or less than the outer', async () => {
    expect(brief(await printed('protocols=warning,qmp=debug', ['qmp', 'qga']))).toEqual([
      'qmp debug',
      'qmp info',
      'qmp warning',
      'qga warning',
    ])
    expect(brief(await printed('debug,libvirt=warning', ['libvirt', 'sasl']))).toEqual([
      'libvirt warning',
      'sasl debug',
      'sasl info',
      'sasl warning',
    ])
  })

  it('takes the last of two levels of one room', async () => {
    expect(brief(await printed('hosts=debug,hosts=warning', ['hosts']))).toEqual(['hosts warning'])
  })

  it('refuses what it does not know and says what it knows', async () => {
    const of = (spec: string) => configureLogging(spec).catch((error: unknown) => error as Error)
    const room = await of('host=debug')
    expect(isAtpError(room, 'ATP_LOG')).toBe(true)
    expect(String(room)).toMatch(/no room: "host"; did you mean "hosts"\?\n.*hosts, .*protocols, libvirt, .*transport/)
    const level = await of('hosts=loud')
    expect(isAtpError(level, 'ATP_LOG')).toBe(true)
    expect(String(level)).toMatch(/no level: "hosts=loud"\n.*trace, debug, info/)
  })

  it('is documented with every room', async () => {
    const { remedy } = (await configureLogging('x=debug').catch((error: unknown) => error)) as AtpError
    const rooms = String(remedy).replace('use one of ', '').split(', ')
    expect(rooms.length).toBeGreaterThan(10)
    const { spans } = pageOf('docs/metrics.md')
    for (const room of rooms) expect(spans).toContain(room)
  })

  it('ends a command that has it wrong as a usage error', () => {
    const run = spawnSync(process.execPath, [join(ROOT, 'bin/atp.js'), 'completion', 'bash'], {
      env: { ...process.env, ATP_LOG: 'hosts=loud' },
      encoding: 'utf8',
    })
    expect([run.status, run.stderr]).toEqual([2, expect.stringContaining('ATP_LOG')])
  })

  it('knows the protocols that are there', () => {
    const inside = readdirSync(join(ROOT, 'framework/protocols'), { withFileTypes: true })
    for (const folder of inside.filter((entry) => entry.isDirectory())) {
      expect(logger(folder.name as LogRoom).category).toEqual(['atp', 'protocols', folder.name])
    }
  })
})

describe('a line of the log', () => {
  it('has time, level, process, room and text', async () => {
    const [line] = await printed('info', [], () => logger('hosts').info`connected to ${'lab-1'} in ${12} ms`)
    expect(line).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z info +\d+ hosts: connected to lab-1 in 12 ms\n$/)
    expect(line).toContain(` ${process.pid} `)
  })

  it('shows errors, objects and Chinese text', async () => {
    const error = remoteError('ATP_LIBVIRT_REMOTE', '失败', { remedy: 'again' })
    const lines = await printed('info', [], () => {
      logger('qmp').error('{error} {data}', { error, data: { 名: ['值'], deep: { a: { b: 1 } } } })
    })
    expect(lines.join('')).toMatch(/qmp: 失败\n {4} {2}→ again \{ '?名'?: \[ '值' \], deep: \{ a: \{ b: 1 \} \} \}\n$/)
  })

  it('holds no secret, in whatever form it comes', async () => {
    const secret = new Secret('password', 'k9"Swordfish')
    addRedaction('tok-123456')
    const lines = await printed('info', [], () => {
      const log = logger('transport')
      log.info(`plain ${secret.reveal()}`)
      log.info('value {secret} {held}', { secret, held: { secret, text: secret.reveal() } })
      log.info(`base64 ${Buffer.from(secret.reveal()).toString('base64')} json ${JSON.stringify(secret.reveal())}`)
      log.error('failed: {error}', { error: new Error('Authorization: Bearer tok-123456') })
    })
    expect(lines).toHaveLength(4)
    expect(lines.join('')).not.toMatch(/Swordfish|tok-123456|azki/)
  })

  it('is the same from a process of its own', () => {
    const core = pathToFileURL(join(ROOT, 'framework/core/index.ts')).href
    const code = `import { configureLogging, logger } from '${core}'
await configureLogging()
logger('libvirt').debug('from outside')`
    const run = spawnSync(process.execPath, ['--input-type=module', '-e', code], {
      env: { ...process.env, ATP_LOG: 'protocols=debug' },
      encoding: 'utf8',
    })
    expect(run.stdout).toBe('')
    expect(run.stderr).toMatch(/^\S+Z debug +\d+ libvirt: from outside\n$/)
  })
})
