/** Projects of a user's kind, run with the real command line as a process of its own. */
import { spawn, type ChildProcess } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { onTestFinished } from 'vitest'
import type { JsonReport } from '../../reporters/json.ts'
import { readFileSync } from 'node:fs'

const ATP = resolve(import.meta.dirname, '../../bin/atp.js')

export interface Outcome {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
  durationMs: number
}

export interface Running {
  child: ChildProcess
  finished: Promise<Outcome>
  /** Resolves when the text was printed (stdout or stderr). */
  printed(text: string | RegExp, timeoutMs?: number): Promise<void>
}

export interface Project {
  dir: string
  write(file: string, content: string): void
  start(args: string[], env?: Record<string, string>): Running
  run(args: string[], env?: Record<string, string>): Promise<Outcome>
  /** The JSON report of the last run. */
  report(): JsonReport
}

/** A project in a directory of its own, removed after the test. Its configuration is the embedded lab's. */
export function project(files: Record<string, string>, config: Record<string, unknown> = {}): Project {
  const dir = mkdtempSync(join(tmpdir(), 'atp-project-'))
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
  const write = (file: string, content: string) => {
    mkdirSync(dirname(join(dir, file)), { recursive: true })
    writeFileSync(join(dir, file), content)
  }
  const settings = { lab: true, report: { allure: false, json: 'report.json' }, ...config }
  write('atp.config.mjs', `export default ${JSON.stringify(settings, null, 2)}\n`)
  for (const [file, content] of Object.entries(files)) write(file, content)

  const start = (args: string[], env: Record<string, string> = {}): Running => {
    const started = performance.now()
    const {
      VITEST: _,
      VITEST_POOL_ID: _pool,
      VITEST_WORKER_ID: _worker,
      NODE_ENV: _env,
      TEST: _test,
      ...rest
    } = process.env
    const child = spawn(process.execPath, [ATP, ...args], {
      cwd: dir,
      env: { ...rest, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    })
    let stdout = ''
    let stderr = ''
    const watchers = new Set<() => void>()
    const took = () => watchers.forEach((watcher) => watcher())
    child.stdout.setEncoding('utf8').on('data', (text: string) => ((stdout += text), took()))
    child.stderr.setEncoding('utf8').on('data', (text: string) => ((stderr += text), took()))
    const finished = new Promise<Outcome>((done) => {
      child.on('close', (code, signal) => {
        took()
        done({ code, signal, stdout, stderr, durationMs: performance.now() - started })
      })
    })
    onTestFinished(() => {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
    })
    const printed = (wanted: string | RegExp, timeoutMs = 120_000) =>
      new Promise<void>((done, fail) => {
        const holds = () =>
          typeof wanted === 'string' ? (stdout + stderr).includes(wanted) : wanted.test(stdout + stderr)
        const timer = setTimeout(
          () => end(new Error(`"${String(wanted)}" was not printed in ${timeoutMs} ms:\n${stdout}\n${stderr}`)),
          timeoutMs,
        )
        const end = (error?: Error) => {
          clearTimeout(timer)
          watchers.delete(check)
          if (error) fail(error)
          else done()
        }
        const check = () => {
          if (holds()) end()
          else if (child.exitCode !== null)
            end(new Error(`the command ended without printing "${String(wanted)}":\n${stdout}\n${stderr}`))
        }
        watchers.add(check)
        check()
      })
    return { child, finished, printed }
  }
  return {
    dir,
    write,
    start,
    run: (args, env) => start(args, env).finished,
    report: () => JSON.parse(readFileSync(join(dir, 'report.json'), 'utf8')) as JsonReport,
  }
}

/** Text of a TypeScript spec. */
export function spec(body: string): string {
  return `import { describe, expect, test } from '@ocloudview/atp'\n\n${body}\n`
}
