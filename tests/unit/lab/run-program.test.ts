import { describe, expect, it } from 'vitest'
import { runProgram } from '../../../lab/run-program.ts'

describe('running a program', () => {
  it('resolves to what it said, also when it fails', async () => {
    expect(await runProgram('sh', ['-c', 'echo 汉; echo no >&2; exit 3'])).toEqual({
      exitCode: 3,
      signal: undefined,
      stdout: '汉\n',
      stderr: 'no\n',
    })
  })

  it('kills it when time is up or the caller aborts', async () => {
    await expect(runProgram('sleep', ['60'], { timeoutMs: 30 })).rejects.toMatchObject({ code: 'ATP_TIMEOUT' })
    const stop = new AbortController()
    const running = runProgram('sleep', ['60'], { signal: stop.signal })
    stop.abort()
    await expect(running).rejects.toMatchObject({ code: 'ATP_INTERRUPTED' })
  })

  it('rejects for a program that is not there', async () => {
    await expect(runProgram('/no/such/program', [])).rejects.toMatchObject({ code: 'ENOENT' })
  })

  it('keeps the end of what a chatty program says on stderr', async () => {
    const { stderr } = await runProgram('sh', ['-c', 'seq 1 20000 >&2'])
    expect(stderr).toMatch(/20000\n$/)
    expect(stderr.length).toBeLessThanOrEqual(4096)
  })

  it('finds daemons in /usr/sbin whatever the PATH', async () => {
    const { stdout } = await runProgram('sh', ['-c', 'echo $PATH'], { env: { PATH: '/bin' } })
    expect(stdout.trim()).toBe('/bin:/usr/sbin:/sbin')
  })
})
