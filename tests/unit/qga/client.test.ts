import { beforeEach, describe, expect, it } from 'vitest'
import { FILE_CHUNK_BYTES, familyOf, guestExec, QgaClient } from '../../../framework/protocols/qga/index.ts'
import { TranscriptRecorder } from '../../../framework/protocols/transcript.ts'
import { addRedaction } from '../../../framework/core/index.ts'
import { LibvirtFailure, RawAnswer, ScriptedAgent, silence } from './scripted-agent.ts'

const UNRESPONSIVE = 86
const base64 = (text: string | Uint8Array) => Buffer.from(text).toString('base64')

let agent: ScriptedAgent
let qga: QgaClient
beforeEach(() => {
  agent = new ScriptedAgent()
  qga = new QgaClient(agent, { retryDelayMs: 1 })
})

/** Processes that end after so many looks. */
function processes(looks: number, ended: object = { exited: true, exitcode: 0 }): void {
  let left = looks
  agent.answer('guest-exec', () => ({ pid: 4711 }))
  agent.answer('guest-exec-status', () => (left-- > 0 ? { exited: false } : ended))
}

describe('QgaClient commands', () => {
  it('reads a nanosecond clock exactly', async () => {
    agent.answer('guest-get-time', () => new RawAnswer('{"return":1795170153682072123}'))
    expect(await qga.getTime()).toBe(1795170153682072123n)
    agent.answer('guest-get-time', () => 5)
    expect(await qga.getTime()).toBe(5n)
  })

  it('finds an agent out of step', async () => {
    await qga.sync()
    agent.answer('guest-sync', () => 1)
    await expect(qga.sync()).rejects.toMatchObject({ code: 'ATP_QGA_PROTOCOL' })
  })

  it('reads info and osinfo', async () => {
    agent.answer('guest-info', () => ({ version: '7.2', supported_commands: [{ name: 'guest-ping', enabled: true }] }))
    agent.answer('guest-get-osinfo', () => ({ id: 'mswindows', 'kernel-release': '19045' }))
    expect((await qga.info()).supported_commands[0]?.name).toBe('guest-ping')
    expect(await qga.osInfo()).toMatchObject({ 'kernel-release': '19045' })
    expect(await qga.family()).toBe('windows')
    await qga.family()
    expect(agent.count('guest-get-osinfo')).toBe(2)
  })

  it.each([
    ['guest-info', () => qga.info()],
    ['guest-get-osinfo', () => qga.osInfo()],
    ['guest-get-time', () => qga.getTime()],
    ['guest-exec', () => qga.exec(guestExec('/bin/true'))],
    ['guest-exec-status', () => qga.execStatus(1)],
  ])('refuses a malformed answer to %s', async (command, call) => {
    for (const answer of [null, 'text', { other: 1 }]) {
      agent.answer(command, () => answer)
      if (command === 'guest-get-osinfo' && typeof answer === 'object' && answer) continue
      await expect(call()).rejects.toMatchObject({ code: 'ATP_QGA_PROTOCOL' })
    }
    agent.answer(command, () => new RawAnswer('{"retur'))
    await expect(call()).rejects.toMatchObject({ code: 'ATP_QGA_PROTOCOL' })
  })

  it('tells refused, silent and absent apart', async () => {
    await expect(qga.execute('guest-nothing')).rejects.toMatchObject({
      code: 'ATP_QGA_EXECUTE',
      branch: 'remote',
      context: { command: 'guest-nothing', desc: 'The command guest-nothing has not been found' },
    })
    agent.fail('guest-get-time', new LibvirtFailure(UNRESPONSIVE))
    await expect(qga.getTime()).rejects.toMatchObject({ code: 'ATP_QGA_UNRESPONSIVE', retryable: true })
    agent.fail('guest-get-time', new LibvirtFailure(74))
    await expect(qga.getTime()).rejects.toMatchObject({ code: 'ATP_QGA_ABSENT', branch: 'unsupported' })
    agent.fail('guest-get-time', new LibvirtFailure(39))
    await expect(qga.getTime()).rejects.toMatchObject({ code: 'ATP_QGA_TOO_LARGE' })
    agent.fail('guest-get-time', new LibvirtFailure(55))
    await expect(qga.getTime()).rejects.toMatchObject({ code: 'ATP_LIBVIRT_REMOTE' })
  })

  it('sends harmless commands again, and nothing else', async () => {
    const twice = () => [new LibvirtFailure(UNRESPONSIVE), new LibvirtFailure(UNRESPONSIVE)]
    agent.fail('guest-ping', ...twice())
    await qga.ping()
    expect(agent.count('guest-ping')).toBe(3)
    agent.fail('guest-ping', ...twice(), ...twice())
    await expect(qga.ping()).rejects.toMatchObject({ code: 'ATP_QGA_UNRESPONSIVE' })
    processes(0)
    agent.fail('guest-exec', ...twice())
    await expect(qga.execAndWait(guestExec('/bin/true'))).rejects.toMatchObject({ code: 'ATP_QGA_UNRESPONSIVE' })
    expect(agent.count('guest-exec')).toBe(1)
    agent.fail('guest-file-write', ...twice())
    await expect(qga.writeFile('/f', 'x')).rejects.toMatchObject({ code: 'ATP_QGA_UNRESPONSIVE' })
    expect(agent.count('guest-file-write')).toBe(1)
    const never = new QgaClient(agent, { retries: 0 })
    agent.fail('guest-ping', ...twice())
    await expect(never.ping()).rejects.toMatchObject({ code: 'ATP_QGA_UNRESPONSIVE' })
  })

  it('keeps its time limit over all attempts', async () => {
    agent.answer('guest-ping', silence)
    const from = performance.now()
    await expect(qga.ping({ timeoutMs: 30 })).rejects.toMatchObject({ branch: 'timeout' })
    expect(performance.now() - from).toBeLessThan(1000)
  })

  it('waits for an agent that is starting, but not for one that cannot come', async () => {
    agent.fail('guest-ping', new LibvirtFailure(UNRESPONSIVE))
    await qga.waitReady()
    agent.answer('guest-ping', silence)
    await expect(qga.waitReady({ timeoutMs: 30 })).rejects.toMatchObject({ code: 'ATP_QGA_NOT_READY' })
    agent.fail('guest-ping', new LibvirtFailure(74))
    await expect(qga.waitReady()).rejects.toMatchObject({ code: 'ATP_QGA_ABSENT' })
  })

  it('refuses calls after close', async () => {
    qga.close()
    await expect(qga.ping()).rejects.toMatchObject({ code: 'ATP_QGA_CLOSED', branch: 'state' })
    expect(agent.commands).toEqual([])
  })
})

describe('QgaClient processes', () => {
  it('spells guest-exec as the agent wants it', async () => {
    processes(0)
    await qga.execAndWait(guestExec('/bin/cat', { args: ['-', '中文'], env: { A: '1' }, input: 'in' }))
    expect(agent.commands[0]).toEqual({
      execute: 'guest-exec',
      arguments: {
        path: '/bin/cat',
        arg: ['-', '中文'],
        env: ['A=1'],
        'input-data': base64('in'),
        'capture-output': true,
      },
    })
    expect(guestExec('/bin/true')).toEqual({ path: '/bin/true', 'capture-output': true })
  })

  it('keeps output byte for byte, with its flags, and missing members', async () => {
    const gbk = Uint8Array.of(0xd6, 0xd0, 0xce, 0xc4, 0xff)
    processes(1, {
      exited: true,
      exitcode: 3,
      'out-data': base64(gbk),
      'err-data': base64('错误'),
      'out-truncated': true,
    })
    const result = await qga.execAndWait(guestExec('/x'))
    expect(result).toMatchObject({ pid: 4711, exitCode: 3, signal: undefined, stdoutTruncated: true, truncated: true })
    expect(result.stderrTruncated).toBe(false)
    expect([...result.stdout]).toEqual([...gbk])
    expect(result.stdoutText).toContain('\ufffd')
    expect(new TextDecoder('gbk').decode(result.stdout.subarray(0, 4))).toBe('中文')
    expect(result.stderrText).toBe('错误')
    processes(0, { exited: true, signal: 9 })
    expect(await qga.execAndWait(guestExec('/x'))).toMatchObject({ exitCode: undefined, signal: 9, truncated: false })
  })

  it('looks at a process in doubling pauses up to the longest', async () => {
    const at: number[] = []
    agent.answer('guest-exec', () => ({ pid: 1 }))
    agent.answer('guest-exec-status', () => ({ exited: at.push(performance.now()) === 7, exitcode: 0 }))
    await qga.execAndWait(guestExec('/x'), { pollMs: 10, pollMaxMs: 40 })
    const pauses = at.slice(1).map((time, i) => time - (at[i] as number))
    for (const [i, least] of [10, 20, 40, 40, 40, 40].entries()) {
      expect(pauses[i]).toBeGreaterThanOrEqual(least - 2)
    }
  })

  it('gives up on a process that does not end, with its pid, also when the agent falls silent', async () => {
    processes(Number.POSITIVE_INFINITY)
    const ended = { code: 'ATP_QGA_EXEC_TIMEOUT', branch: 'timeout', context: { pid: 4711, exited: false, path: '/x' } }
    await expect(qga.execAndWait(guestExec('/x'), { timeoutMs: 30 })).rejects.toMatchObject(ended)
    agent.answer('guest-exec-status', silence)
    await expect(qga.execAndWait(guestExec('/x'), { timeoutMs: 30 })).rejects.toMatchObject(ended)
    const abort = new AbortController()
    const call = qga.execAndWait(guestExec('/x'), { signal: abort.signal })
    abort.abort()
    await expect(call).rejects.toMatchObject({ code: 'ATP_INTERRUPTED' })
  })

  it('uses the shell of the guest', async () => {
    processes(0)
    agent.answer('guest-get-osinfo', () => ({ id: 'debian' }))
    await qga.shell('echo "$1"', { args: ['a b'] })
    expect(agent.commands.at(-2)?.arguments).toMatchObject({ path: '/bin/sh', arg: ['-c', 'echo "$1"', 'sh', 'a b'] })
    const windows = new QgaClient(agent)
    agent.answer('guest-get-osinfo', () => ({ id: 'mswindows' }))
    await windows.shell('dir')
    expect(agent.commands.at(-2)?.arguments).toMatchObject({ path: 'cmd.exe', arg: ['/d', '/s', '/c', 'dir'] })
    await windows.powershell('Write-Output "中文"')
    const arg = agent.commands.at(-2)?.arguments['arg'] as string[]
    expect(Buffer.from(arg.at(-1) as string, 'base64').toString('utf16le')).toBe('Write-Output "中文"')
    expect([familyOf({}), familyOf({ id: 'freebsd' }), familyOf({ id: 'alpine' })]).toEqual(['linux', 'other', 'linux'])
  })
})

describe('QgaClient files', () => {
  const content = Buffer.from(Array.from({ length: FILE_CHUNK_BYTES * 2 + 100 }, (_, i) => i % 251))

  it('copies files in chunks and closes every handle', async () => {
    await qga.writeFile('/目录/文件', content)
    expect(Buffer.compare(agent.files.get('/目录/文件') as Uint8Array, content)).toBe(0)
    expect(agent.count('guest-file-write')).toBe(3)
    expect(Buffer.compare(await qga.readFile('/目录/文件'), content)).toBe(0)
    await qga.writeFile('/empty', '')
    expect(await qga.readFile('/empty')).toHaveLength(0)
    expect(agent.openHandles.size).toBe(0)
  })

  it('goes on after a short write and refuses a lying one', async () => {
    agent.writeLimit = 10_000
    await qga.writeFile('/f', content)
    expect(Buffer.compare(agent.files.get('/f') as Uint8Array, content)).toBe(0)
    agent.writeLimit = 0
    await expect(qga.writeFile('/f', content)).rejects.toMatchObject({ code: 'ATP_QGA_FILE' })
    expect(agent.openHandles.size).toBe(0)
  })

  it('closes the handle on every way out', async () => {
    agent.files.set('/f', content)
    await expect(qga.readFile('/f', { maxBytes: 10 })).rejects.toMatchObject({ code: 'ATP_QGA_FILE' })
    agent.fail('guest-file-read', new LibvirtFailure(1))
    await expect(qga.readFile('/f')).rejects.toMatchObject({ code: 'ATP_QGA_EXECUTE' })
    agent.answer('guest-file-read', silence)
    await expect(qga.readFile('/f', { timeoutMs: 20 })).rejects.toMatchObject({ branch: 'timeout' })
    await expect.poll(() => agent.openHandles.size).toBe(0)
  })

  it('says why a file cannot be opened and reads again after silence', async () => {
    await expect(qga.readFile('/none')).rejects.toMatchObject({
      code: 'ATP_QGA_FILE',
      message: expect.stringContaining('No such file'),
      context: { path: '/none' },
    })
    agent.files.set('/f', content)
    agent.fail('guest-file-read', new LibvirtFailure(UNRESPONSIVE))
    expect(await qga.readFile('/f')).toHaveLength(content.length)
    expect(agent.count('guest-file-open')).toBe(3)
  })
})

describe('QGA transcript', () => {
  it('shows processes in clear text without secrets and files by size', async () => {
    const transcript = new TranscriptRecorder()
    const recorded = new QgaClient(agent, { transcript })
    addRedaction('open-sesame-9')
    processes(0, { exited: true, exitcode: 0, 'out-data': base64('before open-sesame-9 after') })
    await recorded.execAndWait(guestExec('/bin/cat', { input: 'say open-sesame-9' }))
    await recorded.writeFile('/f', 'open-sesame-9')
    const text = transcript.toJsonLines()
    expect(text).toContain('before ••• after')
    expect(text).toContain('say •••')
    expect(text).toContain('<13 bytes>')
    expect(text).not.toContain(base64('before open-sesame-9 after'))
    expect(text).not.toContain('sesame')
  })
})
