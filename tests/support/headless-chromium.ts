import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { withDeadline } from '../../framework/core/index.ts'

const PROGRAM = '/usr/bin/chromium'
const ANSWER_MS = 60_000
const START_MS = 60_000
const CLOSE_MS = 10_000
const ARGUMENTS = [
  '--headless=new',
  '--remote-debugging-pipe',
  '--no-first-run',
  '--no-proxy-server',
  '--disable-gpu',
  '--disable-dev-shm-usage',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-extensions',
  // Its sandbox refuses root.
  ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
]

interface Answer {
  id?: number
  method?: string
  result?: unknown
  error?: { message: string }
}

interface Evaluated {
  result: { value?: unknown }
  exceptionDetails?: { text: string; exception?: { description?: string } }
}

/** Why there is no browser, and how to get one; undefined when there is one. */
export function missingChromium(): string | undefined {
  return existsSync(PROGRAM) ? undefined : `${PROGRAM} is not installed: apt-get install chromium`
}

/** Chromium without a window, with one page, spoken to in its DevTools protocol over a pipe. */
export class HeadlessChromium {
  readonly #child: ChildProcess
  readonly #profile: string
  readonly #calls = new Map<number, PromiseWithResolvers<unknown>>()
  readonly #events = new Map<string, () => void>()
  #unread = ''
  #lastId = 0
  #page: string | undefined

  private constructor(child: ChildProcess, profile: string) {
    this.#child = child
    this.#profile = profile
    const answers = child.stdio[4] as Readable
    answers.setEncoding('utf8').on('data', (text: string) => this.#read(text))
    child.once('exit', (code) => {
      const error = new Error(`Chromium ended with ${code}`)
      for (const { reject } of this.#calls.values()) reject(error)
    })
  }

  /** @param further arguments of its command line */
  static async start(further: readonly string[] = []): Promise<HeadlessChromium> {
    const profile = await mkdtemp(join(tmpdir(), 'chromium-'))
    const child = spawn(PROGRAM, [...ARGUMENTS, ...further, `--user-data-dir=${profile}`, 'about:blank'], {
      stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
    })
    const browser = new HeadlessChromium(child, profile)
    try {
      await once(child, 'spawn')
      await withDeadline('Chromium to start', { timeoutMs: START_MS }, () => browser.#attach())
      return browser
    } catch (error) {
      await browser[Symbol.asyncDispose]()
      throw error
    }
  }

  /** Loads a page; resolves when its scripts have run. */
  async open(url: string): Promise<void> {
    const loaded = new Promise<void>((resolve) => this.#events.set('Page.loadEventFired', resolve))
    await this.#call('Page.navigate', { url })
    await withDeadline(`Chromium to load ${url}`, { timeoutMs: START_MS }, () => loaded)
  }

  /** Value of an expression in the page; a promise is awaited. @throws what the page threw, `ATP_TIMEOUT` after a minute. */
  async evaluate(expression: string): Promise<unknown> {
    const call = { expression, awaitPromise: true, returnByValue: true }
    const { result, exceptionDetails } = await withDeadline(
      `the page to answer ${expression}`,
      { timeoutMs: ANSWER_MS },
      async () => (await this.#call('Runtime.evaluate', call)) as Evaluated,
    )
    if (!exceptionDetails) return result.value
    throw new Error(`in the browser: ${exceptionDetails.exception?.description ?? exceptionDetails.text}`)
  }

  /** Opens another tab in front of the page; the returned function closes it. */
  async cover(): Promise<() => Promise<void>> {
    const page = this.#page
    this.#page = undefined
    const opened = this.#call('Target.createTarget', { url: 'about:blank' })
    this.#page = page
    const { targetId } = (await opened) as { targetId: string }
    return async () => {
      await this.#call('Target.closeTarget', { targetId })
      await this.#call('Page.bringToFront', {})
    }
  }

  /** A command of the DevTools protocol to the page. @throws what Chromium answers */
  send(method: string, params: Record<string, unknown> = {}): Promise<unknown> {
    return this.#call(method, params)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const child = this.#child
    if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) {
      const gone = once(child, 'exit')
      // Its helpers end with it only when it is asked to.
      this.#call('Browser.close', {}).catch(() => {})
      const timer = setTimeout(() => child.kill('SIGKILL'), CLOSE_MS)
      await gone
      clearTimeout(timer)
    }
    await rm(this.#profile, { recursive: true, force: true, maxRetries: 5 })
  }

  async #attach(): Promise<void> {
    const { targetId } = (await this.#call('Target.createTarget', { url: 'about:blank' })) as { targetId: string }
    const attached = await this.#call('Target.attachToTarget', { targetId, flatten: true })
    this.#page = (attached as { sessionId: string }).sessionId
    await this.#call('Page.enable', {})
  }

  #call(method: string, params: Record<string, unknown>): Promise<unknown> {
    const id = ++this.#lastId
    const call = Promise.withResolvers<unknown>()
    this.#calls.set(id, call)
    const message = { id, method, params, ...(this.#page !== undefined && { sessionId: this.#page }) }
    ;(this.#child.stdio[3] as Writable).write(`${JSON.stringify(message)}\0`)
    return call.promise
  }

  #read(text: string): void {
    const messages = (this.#unread + text).split('\0')
    this.#unread = messages.pop() as string
    for (const message of messages) this.#take(JSON.parse(message) as Answer)
  }

  #take({ id, method, result, error }: Answer): void {
    if (method !== undefined) return this.#events.get(method)?.()
    const call = this.#calls.get(id as number)
    this.#calls.delete(id as number)
    if (error) call?.reject(new Error(`Chromium: ${error.message}`))
    else call?.resolve(result)
  }
}
