import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { addRedaction } from '../../../framework/core/index.ts'
import { spawnStream, type ProcessEnd } from '../../../framework/transport/index.ts'
import type { ByteStream } from '../../../framework/wire/index.ts'
import { descriptors } from './stream-contract.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync('/tmp/atp-process-')
})
afterAll(() => rmSync(folder, { recursive: true }))

let before: string[]
beforeEach(() => {
  before = descriptors()
})
afterEach(async () => {
  const children = () => readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8')
  await expect.poll(() => [descriptors(), children()], { timeout: 5000 }).toEqual([before, ''])
})

const shell = (script: string, options?: Parameters<typeof spawnStream>[1]) =>
  spawnStream(['sh', '-c', script], options)

/** What came, and how it ended. */
async function outcome(stream: ByteStream): Promise<{ text: string; error: Error | undefined }> {
  const chunks: Uint8Array[] = []
  const error = await new Promise<Error | undefined>((resolve) =>
    stream.start({ onData: (chunk) => chunks.push(chunk), onClose: resolve }),
  )
  return { text: Buffer.concat(chunks).toString(), error }
}

/** The first line. */
function firstLine(stream: ByteStream): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    stream.start({
      onData: (chunk) => {
        text += Buffer.from(chunk).toString()
        if (text.includes('\n')) resolve(text.slice(0, text.indexOf('\n')))
      },
      onClose: (error) => reject(error ?? new Error(`ended after ${JSON.stringify(text)}`)),
    })
  })
}

function runs(pid: string): boolean {
  // A zombie has ended, it only waits for its parent.
  return existsSync(`/proc/${pid}`) && !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
}

describe('a process', () => {
  it('ends cleanly with exit code 0, after all it wrote', async () => {
    expect(await outcome(await shell('printf 你好; exec head -c 200000 /dev/zero'))).toMatchObject({
      text: `你好${'\0'.repeat(200_000)}`,
      error: undefined,
    })
  })

  it('that fails says with what, and what it said last', async () => {
    const { error } = await outcome(await shell('echo first; printf "no\\r\\n\\033[31msuch thing\\n" >&2; exit 3'))
    expect(error).toMatchObject({
      code: 'ATP_PROCESS_ENDED',
      retryable: true,
      message: expect.stringMatching(/^process:sh ended with exit code 3: no\n\[31msuch thing$/),
      context: { exitCode: 3, signal: null, stderr: 'no\n[31msuch thing' },
    })
  })

  it('that is killed says by what', async () => {
    const { error } = await outcome(await shell('kill -KILL $$', { peer: 'the helper' }))
    expect(error).toMatchObject({ message: 'the helper ended by SIGKILL', context: { signal: 'SIGKILL' } })
  })

  it('can say anything at length: the last 4 KiB count, without secrets', async () => {
    addRedaction('geheimnis-42')
    const { error } = await outcome(
      await shell('head -c 100000 /dev/zero | tr "\\0" x >&2; echo ", geheimnis-42, the end" >&2; exit 1'),
    )
    const { stderr } = (error as unknown as { context: ProcessEnd }).context
    expect(stderr.length).toBeLessThanOrEqual(4096)
    expect(stderr).toMatch(/^x{4000,}, •••, the end$/)
  })

  it('is explained by whoever knows it', async () => {
    const ends: ProcessEnd[] = []
    const explain = (end: ProcessEnd) => {
      ends.push(end)
      return undefined
    }
    expect((await outcome(await shell('exit 5', { explain }))).error).toBeUndefined()
    expect(ends).toEqual([{ exitCode: 5, signal: null, stderr: '' }])
  })

  it('gets its arguments as they are, and the environment it is given', async () => {
    const script = 'process.stdout.write(JSON.stringify([process.argv.slice(1), process.env]))'
    const args = ['$(id)', "a'b", 'c d', '', '`x`', '*']
    const stream = await spawnStream([process.execPath, '-e', script, '--', ...args], { env: { ONLY: '这个' } })
    const [argv, env] = JSON.parse((await outcome(stream)).text) as [string[], object]
    expect(argv).toEqual(args)
    expect(env).toEqual({ ONLY: '这个' })
  })

  it.each([
    ['/nonexistent/program', 'ENOENT'],
    ['/etc/passwd', 'EACCES'],
    ['a\0b', 'ERR_INVALID_ARG_VALUE'],
  ])('that cannot be started: %j', async (program, errno) => {
    await expect(spawnStream([program])).rejects.toMatchObject({
      code: 'ATP_PROCESS_START',
      context: { errno },
      remedy: expect.any(String),
    })
  })

  it('is not started for who has given up', async () => {
    const started = `${folder}/started`
    const starting = spawnStream(['touch', started], { signal: AbortSignal.abort() })
    await expect(starting).rejects.toMatchObject({ code: 'ATP_INTERRUPTED' })
    expect(existsSync(started)).toBe(false)
  })

  it('that nobody reads from is ended all the same', async () => {
    const stream = await shell('yes')
    const reason = new Error('enough')
    stream.destroy(reason)
    expect((await outcome(stream)).error).toBe(reason)
  })

  it('that ignores SIGTERM is killed, and those it started with it', async () => {
    const stream = await shell('trap "" TERM; sleep 1000 & echo $$ $!; wait; sleep 1000')
    const pids = (await firstLine(stream)).split(' ')
    expect(pids.map(runs)).toEqual([true, true])
    stream.destroy()
    await expect.poll(() => pids.map(runs), { timeout: 10_000 }).toEqual([false, false])
  })

  it('that goes on without its output is ended', async () => {
    const { error } = await outcome(await shell('exec >&-; sleep 1000'))
    expect(error).toMatchObject({ context: { signal: 'SIGTERM' } })
  })

  it('whose children keep its pipes is over when it is over', async () => {
    const stream = await shell('sleep 1000 & echo $!; exit 7')
    let pid = ''
    const error = await new Promise((resolve) =>
      stream.start({ onData: (chunk) => (pid += Buffer.from(chunk).toString()), onClose: resolve }),
    )
    expect(error).toMatchObject({ context: { exitCode: 7 } })
    process.kill(Number(pid))
    await expect.poll(() => runs(pid.trim())).toBe(false)
  })

  it('sees the end of its input when this process dies, however it dies', async () => {
    const transport = new URL('../../../framework/transport/index.ts', import.meta.url)
    const script = `import { spawnStream } from ${JSON.stringify(transport.href)}
      const stream = await spawnStream(['sh', '-c', 'echo $$; exec cat'])
      stream.start({ onData: (chunk) => process.stdout.write(chunk), onClose: () => {} })`
    const parent = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const [line] = (await once(parent.stdout, 'data')) as [Buffer]
    const pid = line.toString().trim()
    expect(runs(pid)).toBe(true)
    parent.kill('SIGKILL')
    await once(parent, 'exit')
    await expect.poll(() => runs(pid), { timeout: 5000 }).toBe(false)
  })
})
