import { spawn } from 'node:child_process'
import { interrupted, timeoutError, type CallOptions } from '../framework/core/index.ts'

const MAX_OUTPUT_BYTES = 4 * 1024 * 1024
const STDERR_TAIL_BYTES = 4096

export interface ProgramResult {
  exitCode: number | undefined
  signal: NodeJS.Signals | undefined
  stdout: string
  /** The last 4 KiB. */
  stderr: string
}

export interface ProgramOptions extends CallOptions {
  cwd?: string
  env?: NodeJS.ProcessEnv
}

/** The environment with the folders in which Debian keeps daemons; an ordinary user's PATH lacks them. */
export function programEnv(env: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
  return { ...env, PATH: `${env['PATH'] ?? '/usr/bin:/bin'}:/usr/sbin:/sbin` }
}

/** Whether the program could not be found: a PATH with folders this user may not enter gives `EACCES` for that. */
export function isNotInstalled(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException
  return code === 'ENOENT' || code === 'EACCES'
}

/**
 * Runs a program to its end. A non-zero exit is a result, not an error. On abort or timeout the program is
 * killed before the call rejects.
 *
 * @throws the spawn error (see {@link isNotInstalled}), `ATP_TIMEOUT`, `ATP_INTERRUPTED`.
 */
export function runProgram(
  file: string,
  args: readonly string[],
  options: ProgramOptions = {},
): Promise<ProgramResult> {
  const { signal, timeoutMs, cwd } = options
  const env = programEnv(options.env)
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(interrupted(file, signal))
    const child = spawn(file, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] })
    let failure: Error | undefined
    const kill = (error: Error) => {
      failure ??= error
      child.kill('SIGKILL')
    }
    const onAbort = () => kill(interrupted(file, signal))
    signal?.addEventListener('abort', onAbort, { once: true })
    const timer =
      timeoutMs === undefined
        ? undefined
        : setTimeout(
            () => kill(timeoutError('ATP_TIMEOUT', `${file} did not finish within ${timeoutMs} ms`)),
            timeoutMs,
          )
    const out: Buffer[] = []
    let outBytes = 0
    let errTail = Buffer.alloc(0)
    child.stdout.on('data', (chunk: Buffer) => {
      outBytes += chunk.length
      if (outBytes <= MAX_OUTPUT_BYTES) out.push(chunk)
    })
    child.stderr.on('data', (chunk: Buffer) => {
      errTail = Buffer.concat([errTail, chunk]).subarray(-STDERR_TAIL_BYTES)
    })
    const settle = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
    }
    child.once('error', (error) => {
      settle()
      reject(failure ?? error)
    })
    child.once('close', (code, exitSignal) => {
      settle()
      if (failure) return reject(failure)
      resolve({
        exitCode: code ?? undefined,
        signal: exitSignal ?? undefined,
        stdout: Buffer.concat(out).toString('utf8'),
        stderr: errTail.toString('utf8'),
      })
    })
  })
}
