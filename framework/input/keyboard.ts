import { configError, sleep, stateError, unsupportedError, type Secret } from '../core/index.ts'
import {
  exceedsLayout,
  keyNamed,
  keyOfQcode,
  parseChord,
  textStrokes,
  type Key,
  type Stroke,
  type UnicodeRoute,
} from '../keys/index.ts'
import type { InputPathName } from '../evidence/events.ts'
import { ActionQueue, type Action, type InputHost } from './action.ts'
import type { Delivery, InputEvent, InputOptions, Keyboard, PressOptions, TypeOptions } from './api.ts'
import { PathPace } from './pacing.ts'
import { typeStrokes, type PlannedStroke } from './typing.ts'

/** Longest text shown in a report. */
const SHOWN_CHARACTERS = 200

const NO_KEYS: ReadonlySet<number> = new Set()

/**
 * The keyboard of one VM.
 *
 * Text is typed in acknowledgement pacing while somebody observes: a stroke leaves when the device's queue surely has
 * room for it, so that nothing is lost however busy the host is. Otherwise at a fixed pace that suits an idle host.
 */
export class KeyboardDevice implements Keyboard {
  readonly #queue: ActionQueue
  readonly #vm: string
  readonly #unicode: InputHost['unicodeRoute']
  readonly #held = new Map<string, Key>()
  /** What each way into the guest has shown so far. */
  readonly #paces = new Map<string, PathPace>()

  constructor(host: InputHost) {
    this.#queue = new ActionQueue(host)
    this.#vm = host.vm
    this.#unicode = host.unicodeRoute?.bind(host)
  }

  get deliveries(): readonly Delivery[] {
    return this.#queue.deliveries
  }

  /**
   * @throws before the first stroke `ATP_KEY_UNMAPPED`, `ATP_KEY_UNICODE`, `ATP_KEY_LAYOUT`, `ATP_KEY_HELD`,
   * `ATP_INPUT_DELAY`; what
   * {@link ActionQueue.run} throws.
   */
  async type(text: string | Secret, options: TypeOptions = {}): Promise<Delivery> {
    const secret = typeof text !== 'string'
    const clear = secret ? text.reveal() : text
    assertPace(options.delayMs)
    const inspect = (unicode?: UnicodeRoute) => {
      const { strokes, characters, skipped } = textStrokes(clear, { ...options, unicode, secret })
      this.#assertFree([...strokes.map((stroke) => stroke.key), ...(unicode?.keys ?? [])])
      const input = secret ? `${characters} secret characters` : shorten(clear)
      return { strokes, input: skipped > 0 ? `${input} (${skipped} characters skipped)` : input }
    }
    const byCode = options.unicode !== undefined && exceedsLayout(clear, options.layout)
    const known = byCode ? undefined : inspect()
    const action: Action = {
      name: 'keyboard.type',
      input: known?.input ?? '',
      secret,
      target: 'keyboard',
      options,
      held: this.#heldCodes(),
    }
    return this.#queue.run(action, async (context) => {
      const { strokes, input } = known ?? inspect(await this.#unicodeRoute(context.signal))
      context.describe(input)
      return typeStrokes(this.#plan(strokes), options, context, this.#paceOf(context.path.name))
    })
  }

  /** @throws before anything is sent `ATP_KEY_UNKNOWN`, `ATP_KEY_CHORD`, `ATP_KEY_LAYOUT`, `ATP_KEY_HELD`, `ATP_KEY_DEVICE`. */
  async press(chord: string, options: PressOptions = {}): Promise<Delivery> {
    const keys = parseChord(chord, options.layout)
    this.#assertFree(keys.slice(-1))
    const holds = Boolean(options.holdMs)
    return this.#queue.run(
      { name: 'keyboard.press', input: chord, target: 'keyboard', options, held: this.#heldCodes(), holds },
      async ({ recording, path, signal }) => {
        assertOnDevice(keys, path.name.device)
        const pressed = keys.filter((key) => !this.#held.has(key.qcode))
        const downs = pressed.map((key) => keyEvent(key, true))
        const ups = pressed.toReversed().map((key) => keyEvent(key, false))
        if (!options.holdMs) {
          // In one call, so that a busy host cannot stretch the press until the guest repeats the key.
          await recording.inject([...downs, ...ups], { signal })
          return undefined
        }
        await recording.inject(downs, { signal })
        await sleep(options.holdMs, signal)
        await recording.inject(ups, { signal })
        return undefined
      },
    )
  }

  /** @throws `ATP_KEY_UNKNOWN`, `ATP_KEY_HELD`, `ATP_KEY_DEVICE` before anything is sent. */
  async down(name: string, options: InputOptions = {}): Promise<Delivery> {
    const key = keyNamed(name)
    this.#assertFree([key])
    const held = new Set([...this.#heldCodes(), key.evdev.code])
    const delivery = await this.#queue.run(
      { name: 'keyboard.down', input: name, target: 'keyboard', options, held },
      async ({ recording, path, signal }) => {
        assertOnDevice([key], path.name.device)
        await recording.inject([keyEvent(key, true)], { signal })
        return undefined
      },
    )
    this.#held.set(key.qcode, key)
    return delivery
  }

  /** @throws `ATP_KEY_NOT_HELD` when `down` was not called before. */
  async up(name: string, options: InputOptions = {}): Promise<Delivery> {
    const key = keyNamed(name)
    if (!this.#held.has(key.qcode)) {
      throw stateError('ATP_KEY_NOT_HELD', `${this.#vm}: ${key.qcode} is not down`, {
        remedy: 'call keyboard.down first',
      })
    }
    const held = this.#heldCodes()
    const delivery = await this.#queue.run(
      { name: 'keyboard.up', input: name, target: 'keyboard', options, held },
      async ({ recording, signal }) => {
        await recording.inject([keyEvent(key, false)], { signal })
        return undefined
      },
    )
    this.#held.delete(key.qcode)
    return delivery
  }

  /** Releases every key that {@link down} left pressed, the last one first. */
  async releaseAll(options: InputOptions = {}): Promise<void> {
    for (const qcode of [...this.#held.keys()].toReversed()) await this.up(qcode, { verify: 'off', ...options })
  }

  /** A key that is down already cannot be pressed: the guest would see nothing. */
  #assertFree(keys: readonly Key[]): void {
    const key = keys.find(({ qcode }) => this.#held.has(qcode))
    if (!key) return
    throw stateError('ATP_KEY_HELD', `${this.#vm}: ${key.qcode} is down already`, { remedy: 'call keyboard.up first' })
  }

  #heldCodes(): ReadonlySet<number> {
    return this.#held.size === 0 ? NO_KEYS : new Set([...this.#held.values()].map((key) => key.evdev.code))
  }

  #unicodeRoute(signal: AbortSignal): Promise<UnicodeRoute> {
    if (this.#unicode) return this.#unicode({ signal })
    throw unsupportedError('ATP_KEY_UNICODE', `${this.#vm}: nobody can say how its guest takes such characters`)
  }

  #plan(strokes: readonly Stroke[]): PlannedStroke[] {
    return strokes.map((stroke) => {
      const events = this.#strokeEvents(stroke)
      const releases = events.flatMap(({ qcode, down }) => (down ? [] : (keyOfQcode(qcode)?.evdev.code ?? [])))
      return { events, releases }
    })
  }

  #paceOf({ via, device }: InputPathName): PathPace {
    const name = `${via}/${device}`
    const pace = this.#paces.get(name) ?? new PathPace()
    this.#paces.set(name, pace)
    return pace
  }

  #strokeEvents({ key, modifiers, part }: Stroke): KeyEvent[] {
    const needed = modifiers.filter((modifier) => !this.#held.has(modifier.qcode))
    const before = part === undefined || part === 'first' ? needed : []
    const after = part === undefined || part === 'last' ? needed.toReversed() : []
    return [
      ...before.map((modifier) => keyEvent(modifier, true)),
      keyEvent(key, true),
      keyEvent(key, false),
      ...after.map((modifier) => keyEvent(modifier, false)),
    ]
  }
}

type KeyEvent = Extract<InputEvent, { type: 'key' }>

function keyEvent({ qcode }: Key, down: boolean): KeyEvent {
  return { type: 'key', qcode, down }
}

function assertOnDevice(keys: readonly Key[], device: InputPathName['device']): void {
  const missing = device === 'virtio' ? undefined : keys.find((key) => !key[device])
  if (!missing) return
  throw unsupportedError('ATP_KEY_DEVICE', `QEMU's ${device} keyboard cannot deliver the key "${missing.qcode}"`, {
    context: { key: missing.qcode, device },
    remedy: 'use a machine profile with a virtio keyboard',
  })
}

function shorten(text: string): string {
  const characters = Array.from(text)
  if (characters.length <= SHOWN_CHARACTERS) return text
  return `${characters.slice(0, SHOWN_CHARACTERS).join('')}… (${characters.length} characters)`
}

function assertPace(delayMs: number | undefined): void {
  if (delayMs === undefined || (Number.isFinite(delayMs) && delayMs >= 0)) return
  throw configError('ATP_INPUT_DELAY', `keyboard.type: delayMs is ${delayMs}`, {
    remedy: 'give the pause between strokes in milliseconds, 0 or more',
  })
}
