import { spawn, type ChildProcess } from 'node:child_process'
import { configError, messageOf } from '../../../framework/core/errors.ts'
import type { Verification, Verifier } from '../../core/index.ts'
import type { VerifierEvent } from '../../protocol/index.ts'

/** Most output of a command that is kept to be compared and reported, each of stdout and stderr. */
const OUTPUT_MAX_BYTES = 262_144

/** What a command left. */
interface Outcome {
  exit_code: number | null
  signal: string | null
  stdout: string
  stderr: string
  /** The command wrote more than is kept. */
  truncated: boolean
}

/**
 * Runs a program and compares how it ended: `command` with `args`, without a shell. Verified are
 * `expected_exit_code` (default 0), `expected_stdout_contains` and `expected_stderr_contains`. When the time is over
 * the program is killed with everything it started.
 */
export class CommandVerifier implements Verifier {
  readonly verifierType = 'command'
  readonly #running = new Set<ChildProcess>()

  /** @throws `ATP_VERIFIER_EVENT` for what is no command, or cannot be started. */
  async verify({ metadata }: VerifierEvent, signal: AbortSignal): Promise<Verification> {
    const expected = expectationsOf(metadata)
    const outcome = await this.#run(commandOf(metadata), argumentsOf(metadata), signal)
    const problems = [
      outcome.exit_code !== expected.exitCode && `it ended with ${endOf(outcome)} instead of ${expected.exitCode}`,
      !outcome.stdout.includes(expected.stdout) && 'stdout does not contain what was expected',
      !outcome.stderr.includes(expected.stderr) && 'stderr does not contain what was expected',
    ].filter((problem) => problem !== false)
    return {
      verified: problems.length === 0,
      details: { ...outcome, ...(problems.length > 0 && { error: problems.join('; ') }) },
    }
  }

  async close(): Promise<void> {
    for (const child of this.#running) killGroup(child)
  }

  #run(command: string, args: string[], signal: AbortSignal): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      // A process group of its own, so that what the program starts can be killed with it.
      const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true, windowsHide: true })
      this.#running.add(child)
      const stdout = new Output()
      const stderr = new Output()
      child.stdout.on('data', (chunk: Buffer) => stdout.add(chunk))
      child.stderr.on('data', (chunk: Buffer) => stderr.add(chunk))
      const onAbort = () => killGroup(child)
      if (signal.aborted) onAbort()
      signal.addEventListener('abort', onAbort, { once: true })
      const over = () => {
        this.#running.delete(child)
        signal.removeEventListener('abort', onAbort)
      }
      child.on('error', (error) => {
        over()
        reject(configError('ATP_VERIFIER_EVENT', `"${command}" cannot be run: ${messageOf(error)}`))
      })
      child.on('close', (code, killedBy) => {
        over()
        resolve({
          exit_code: code,
          signal: killedBy,
          stdout: stdout.text,
          stderr: stderr.text,
          truncated: stdout.truncated || stderr.truncated,
        })
      })
    })
  }
}

class Output {
  readonly #chunks: Buffer[] = []
  #bytes = 0
  truncated = false

  get text(): string {
    return Buffer.concat(this.#chunks).toString()
  }

  add(chunk: Buffer): void {
    const kept = chunk.subarray(0, OUTPUT_MAX_BYTES - this.#bytes)
    this.truncated ||= kept.length < chunk.length
    this.#bytes += kept.length
    if (kept.length > 0) this.#chunks.push(kept)
  }
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return
  if (process.platform === 'win32') {
    spawn('taskkill', ['/pid', String(child.pid), '/t', '/f'], { stdio: 'ignore', windowsHide: true })
    return
  }
  try {
    process.kill(-child.pid, 'SIGKILL')
  } catch {
    // It ended by itself.
  }
}

function endOf({ exit_code, signal }: Outcome): string {
  return exit_code === null ? `signal ${signal}` : `exit code ${exit_code}`
}

function commandOf(metadata: VerifierEvent['metadata']): string {
  const command = metadata['command']
  if (typeof command === 'string' && command !== '') return command
  throw configError('ATP_VERIFIER_EVENT', 'the command event names no command')
}

function argumentsOf(metadata: VerifierEvent['metadata']): string[] {
  const args = metadata['args'] ?? []
  if (Array.isArray(args) && args.every((each) => typeof each === 'string')) return args
  throw configError('ATP_VERIFIER_EVENT', "the command event's args are no list of texts")
}

const EXPECTATIONS = ['expected_exit_code', 'expected_stdout_contains', 'expected_stderr_contains']

function expectationsOf(metadata: VerifierEvent['metadata']) {
  // One that is not understood would be one that everything meets.
  const unknown = Object.keys(metadata).find((name) => name.startsWith('expected') && !EXPECTATIONS.includes(name))
  if (unknown !== undefined) {
    throw configError('ATP_VERIFIER_EVENT', `a command event cannot have "${unknown}"`, {
      remedy: `use ${EXPECTATIONS.join(', ')}`,
    })
  }
  const exitCode = metadata['expected_exit_code'] ?? 0
  const stdout = metadata['expected_stdout_contains'] ?? ''
  const stderr = metadata['expected_stderr_contains'] ?? ''
  if (!Number.isInteger(exitCode) || typeof stdout !== 'string' || typeof stderr !== 'string') {
    throw configError('ATP_VERIFIER_EVENT', "the command event's expectations are no exit code and texts")
  }
  return { exitCode: exitCode as number, stdout, stderr }
}
