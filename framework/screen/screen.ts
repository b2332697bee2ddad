import {
  configError,
  isAtpError,
  sleep,
  timeoutError,
  withDeadline,
  type AtpError,
  type CallOptions,
} from '../core/index.ts'
import type {
  ChangeOptions,
  Picture,
  PictureSource,
  Region,
  Screen,
  ScreenState,
  StableOptions,
  TextOptions,
} from './api.ts'
import { compare, differs } from './compare.ts'
import { encodePng } from './image-file.ts'
import { readText } from './ocr.ts'
import { crop, regionText } from './picture.ts'

const WAIT_MS = 10_000
const FIRST_MS = 30_000
const STABLE_MS = 500
/** Between two looks at a screen that does not tell of its changes. */
const LOOK_MS = 50

/** A screen over any source of pictures. It holds nothing open: the source is its owner's. */
export class SourceScreen implements Screen {
  readonly #source: PictureSource

  constructor(source: PictureSource) {
    this.#source = source
  }

  get name(): string {
    return this.#source.name
  }

  get via(): PictureSource['via'] {
    return this.#source.via
  }

  picture(options: CallOptions = {}): Promise<Picture> {
    return this.#source.picture(options)
  }

  async screenshot({ region, ...options }: CallOptions & { region?: Region } = {}) {
    return encodePng(crop(await this.picture(options), region))
  }

  async waitForStable(options: StableOptions = {}): Promise<Picture> {
    const { forMs = STABLE_MS, timeoutMs = WAIT_MS, signal, ...how } = options
    let changes = 0
    const what = `the screen of ${this.name}`
    const wait = withDeadline(`${what} to be stable`, { timeoutMs, signal }, async (bound) => {
      let last = await this.picture({ signal: bound })
      let sinceMs = performance.now()
      for (;;) {
        const leftMs = sinceMs + forMs - performance.now()
        if (leftMs <= 0) return last
        await this.#nextLook(bound, leftMs)
        const now = await this.picture({ signal: bound })
        if (!differs(last, now, how)) continue
        changes++
        last = now
        sinceMs = performance.now()
      }
    })
    return explain(wait, (cause) =>
      timeoutError(
        'ATP_SCREEN_UNSTABLE',
        `${what} did not stay the same for ${forMs} ms within ${timeoutMs} ms; it changed ${changes} times`,
        { cause, remedy: 'mask what always moves, such as a cursor, or allow some maxPixels', verdict: 'product' },
      ),
    )
  }

  async waitForChange(options: ChangeOptions = {}): Promise<Picture> {
    const { since, timeoutMs = WAIT_MS, signal, ...how } = options
    const where = how.region ? `${regionText(how.region)} of the screen` : 'the screen'
    const what = `${where} of ${this.name}`
    const wait = withDeadline(`${what} to change`, { timeoutMs, signal }, async (bound) => {
      const before = since ?? (await this.picture({ signal: bound }))
      for (;;) {
        const now = await this.picture({ signal: bound })
        if (differs(before, now, how)) return now
        await this.#nextLook(bound)
      }
    })
    return explain(wait, (cause) =>
      timeoutError('ATP_SCREEN_UNCHANGED', `${what} did not change within ${timeoutMs} ms`, {
        cause,
        verdict: 'product',
      }),
    )
  }

  async waitForSize(
    { width, height }: { width: number; height: number },
    { timeoutMs = WAIT_MS, signal }: CallOptions = {},
  ): Promise<Picture> {
    let seen: Picture | undefined
    const what = `the screen of ${this.name}`
    const wait = withDeadline(`${what} to have ${width}×${height}`, { timeoutMs, signal }, async (bound) => {
      for (;;) {
        seen = await this.picture({ signal: bound })
        if (seen.width === width && seen.height === height) return seen
        await this.#nextLook(bound)
      }
    })
    return explain(wait, (cause) => {
      const has = seen ? `has ${seen.width}×${seen.height}` : 'was not seen'
      const message = `${what} ${has}, not ${width}×${height} pixels, after ${timeoutMs} ms`
      return timeoutError('ATP_SCREEN_SIZE', message, { cause, verdict: 'product' })
    })
  }

  async first<N extends string>(
    states: readonly ScreenState<N>[],
    { timeoutMs = FIRST_MS, signal }: CallOptions = {},
  ): Promise<N> {
    assertStates(states)
    const missing = new Map<string, string>()
    const names = states.map(({ name }) => name).join(', ')
    const wait = withDeadline(`one of ${names} on ${this.name}`, { timeoutMs, signal }, async (bound) => {
      for (;;) {
        const picture = await this.picture({ signal: bound })
        for (const state of states) {
          const reason = await whyNot(state, picture, bound)
          if (reason === undefined) return state.name
          missing.set(state.name, reason)
        }
        await this.#nextLook(bound)
      }
    })
    return explain(wait, (cause) => {
      const reasons = [...missing].map(([name, reason]) => `${name}: ${reason}`).join('; ')
      const message = `none of ${names} was on the screen of ${this.name} within ${timeoutMs} ms${reasons && ` (${reasons})`}`
      return timeoutError('ATP_SCREEN_NONE', message, { cause, verdict: 'product' })
    })
  }

  async text({ region, languages = ['eng'], ...options }: TextOptions = {}): Promise<string> {
    return readText(crop(await this.picture(options), region), languages, options)
  }

  /** Resolves when another look may show something new, at the latest after `atMostMs`. */
  async #nextLook(signal: AbortSignal, atMostMs = Infinity): Promise<void> {
    if (!this.#source.changed) return sleep(Math.min(LOOK_MS, atMostMs), signal)
    const enough = new AbortController()
    const timer = Number.isFinite(atMostMs) ? setTimeout(() => enough.abort(), atMostMs) : undefined
    try {
      await this.#source.changed({ signal: AbortSignal.any([signal, enough.signal]) })
    } catch (error) {
      if (!enough.signal.aborted || signal.aborted) throw error
    } finally {
      clearTimeout(timer)
    }
  }
}

/** Why the state is not on the picture; undefined when it is. */
async function whyNot(state: ScreenState, picture: Picture, signal: AbortSignal): Promise<string | undefined> {
  const { image, text, when, region, languages = ['eng'] } = state
  if (image) {
    const { same, reason } = compare(picture, image, state)
    if (!same) return reason
  }
  if (when && !(await when(picture))) return 'its condition does not hold'
  if (text === undefined) return undefined
  const seen = await readText(crop(picture, region), languages, { signal })
  const holds = typeof text === 'string' ? seen.includes(text) : text.test(seen)
  return holds ? undefined : `the text is ${JSON.stringify(seen.slice(0, 200))}`
}

function assertStates(states: readonly ScreenState[]): void {
  const empty = states.find(({ image, text, when }) => !image && text === undefined && !when)
  const names = states.map(({ name }) => name)
  const twice = names.find((name, at) => names.indexOf(name) < at)
  const problem =
    states.length === 0
      ? 'no state is given'
      : empty
        ? `"${empty.name}" says nothing of the screen`
        : twice !== undefined && `"${twice}" is there twice`
  if (!problem) return
  throw configError('ATP_SCREEN_STATES', `screen.first cannot choose: ${problem}`, {
    remedy: 'give each state a name of its own and an image, a text, or a condition',
  })
}

/** Replaces the deadline's error by one that says what was seen. */
async function explain<T>(wait: Promise<T>, error: (cause: unknown) => AtpError): Promise<T> {
  try {
    return await wait
  } catch (cause) {
    throw isAtpError(cause, 'ATP_TIMEOUT') ? error(cause) : cause
  }
}
