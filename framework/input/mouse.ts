import { configError, sleep, stateError, type CallOptions } from '../core/index.ts'
import { BUTTONS } from '../keys/index.ts'
import { ActionQueue, type Action, type ActionBody, type ActionContext, type InputHost } from './action.ts'
import type {
  Delivery,
  InputEvent,
  InputOptions,
  Mouse,
  MouseButton,
  MouseOptions,
  ObservedEvent,
  Point,
} from './api.ts'
import { FIXED_PACE_MS } from './pacing.ts'
import {
  ABS_MAX,
  motionRecord,
  pixelToAbs,
  placeRecord,
  type Axis,
  type Place,
  type ScreenSize,
} from './pointer-place.ts'
import type { Recording } from './recording.ts'

/** One packet of a PS/2 mouse carries at most this distance. */
const MAX_STEP = 127
/** How long to wait for one step of a longer motion to be seen, milliseconds. */
const STEP_MS = 100

/** Places between the ends of a drag: programs tell a drag from a click by the way that the pointer takes. */
const DRAG_PLACES = 4

/**
 * The mouse of one VM. Absolute positions need a tablet, relative motion a mouse; buttons and wheel take either.
 *
 * Presses, releases and notches leave in calls of their own, because many guests look only at the state at the
 * end of a report.
 */
export class MouseDevice implements Mouse {
  readonly #queue: ActionQueue
  readonly #vm: string
  readonly #screen: (options: CallOptions) => Promise<ScreenSize>
  readonly #held = new Set<MouseButton>()
  /** Where the guest last reported the tablet to be. */
  readonly #position = new Map<Axis, number>()

  constructor(host: InputHost, screen: (options: CallOptions) => Promise<ScreenSize>) {
    this.#queue = new ActionQueue(host)
    this.#vm = host.vm
    this.#screen = screen
  }

  get deliveries(): readonly Delivery[] {
    return this.#queue.deliveries
  }

  /** @throws `ATP_MOUSE_RANGE` for a position off the screen; `ATP_INPUT_DEVICE` without a tablet. */
  async move(x: number, y: number, options: MouseOptions = {}): Promise<Delivery> {
    const place = await this.#place({ x, y }, options)
    return this.#run(
      { name: 'mouse.move', input: `${x}, ${y}`, target: 'tablet', options, pointer: this.#reached(place) },
      async (context) => {
        await this.#moveTo(place.axes, context)
        return undefined
      },
    )
  }

  /** Moves by mouse counts, which a guest without pointer acceleration takes for pixels. */
  async moveBy(dx: number, dy: number, options: MouseOptions = {}): Promise<Delivery> {
    if (!Number.isInteger(dx) || !Number.isInteger(dy)) {
      throw configError('ATP_MOUSE_RANGE', `${this.#vm}: cannot move by ${dx}, ${dy}`, {
        remedy: 'relative motion is counted in whole steps',
      })
    }
    const pointer = (recording: Recording) => motionRecord(dx, dy, recording)
    const action = { name: 'mouse.moveBy', input: `${dx}, ${dy}`, target: 'mouse', options, pointer } as const
    return this.#run(action, async (context) => {
      let [leftX, leftY] = [dx, dy]
      while (leftX !== 0 || leftY !== 0) {
        const [stepX, stepY] = [clamp(leftX), clamp(leftY)]
        leftX -= stepX
        leftY -= stepY
        const events: InputEvent[] = []
        if (stepX !== 0) events.push({ type: 'rel', axis: 'x', value: stepX })
        if (stepY !== 0) events.push({ type: 'rel', axis: 'y', value: stepY })
        await this.#step(events, context)
      }
      return undefined
    })
  }

  /** Clicks, first moving there if a position is given. */
  async click(
    options: MouseOptions & { x?: number; y?: number; button?: MouseButton; count?: number } = {},
  ): Promise<Delivery> {
    const { x, y, button = 'left', count = 1 } = options
    if ((x === undefined) !== (y === undefined)) {
      throw configError('ATP_MOUSE_RANGE', `${this.#vm}: mouse.click has only one of x and y`, {
        remedy: 'give both, or none',
      })
    }
    if (!Number.isInteger(count) || count < 1) {
      throw configError('ATP_MOUSE_COUNT', `${this.#vm}: mouse.click cannot click ${count} times`, {
        remedy: 'give 1 or more',
      })
    }
    this.#assertFree(button)
    const place = x === undefined || y === undefined ? undefined : await this.#place({ x, y }, options)
    const input = `${button}${count > 1 ? ` × ${count}` : ''}${place ? ` at ${x}, ${y}` : ''}`
    const action: MouseAction = { name: 'mouse.click', input, target: place ? 'tablet' : 'pointer', options }
    return this.#run({ ...action, ...(place ? { pointer: this.#reached(place) } : {}) }, async (context) => {
      if (place) await this.#moveTo(place.axes, context)
      for (let done = 0; done < count; done++) {
        await this.#step([{ type: 'button', button, down: true }], context)
        await this.#step([{ type: 'button', button, down: false }], context)
      }
      return undefined
    })
  }

  /** Clicks twice; the same as `click` with `count: 2`. */
  dblclick(options: MouseOptions & { x?: number; y?: number; button?: MouseButton } = {}): Promise<Delivery> {
    return this.click({ ...options, count: 2 })
  }

  /**
   * Presses the button at one place, moves to another over four places between, and releases it there. A drag that fails
   * on its way releases the button too.
   */
  async drag(from: Point, to: Point, options: MouseOptions & { button?: MouseButton } = {}): Promise<Delivery> {
    const { button = 'left' } = options
    this.#assertFree(button)
    const [start, end] = [await this.#place(from, options), await this.#place(to, options)]
    const input = `${button} from ${from.x}, ${from.y} to ${to.x}, ${to.y}`
    return this.#run(
      { name: 'mouse.drag', input, target: 'tablet', options, pointer: this.#reached(end) },
      async (context) => {
        await this.#moveTo(start.axes, context)
        await this.#step([{ type: 'button', button, down: true }], context)
        const last = new Map(start.axes)
        for (let place = 1; place <= DRAG_PLACES + 1; place++) {
          const next = between(start.axes, end.axes, place / (DRAG_PLACES + 1))
          const moved = changes(last, next, context)
          for (const { axis, value } of moved) last.set(axis, value)
          await this.#step(moved, context)
        }
        // What is too little to be surely seen has to be done all the same.
        const rest = changes(last, end.axes, { ...context, resolution: 1 })
        if (rest.length > 0) await context.recording.inject(rest, { signal: context.signal, optional: true })
        await this.#step([{ type: 'button', button, down: false }], context)
        return undefined
      },
    )
  }

  /** @throws `ATP_MOUSE_HELD` when it is down already. */
  async down(button: MouseButton = 'left', options: MouseOptions = {}): Promise<Delivery> {
    this.#assertFree(button)
    const held = new Set([...this.#held, button])
    const delivery = await this.#run(
      { name: 'mouse.down', input: button, target: 'pointer', options },
      (context) => this.#step([{ type: 'button', button, down: true }], context),
      held,
    )
    this.#held.add(button)
    return delivery
  }

  /** @throws `ATP_MOUSE_NOT_HELD` when `down` was not called before. */
  async up(button: MouseButton = 'left', options: MouseOptions = {}): Promise<Delivery> {
    if (!this.#held.has(button)) {
      throw stateError('ATP_MOUSE_NOT_HELD', `${this.#vm}: the ${button} button is not down`, {
        remedy: 'call mouse.down first',
      })
    }
    const delivery = await this.#run({ name: 'mouse.up', input: button, target: 'pointer', options }, (context) =>
      this.#step([{ type: 'button', button, down: false }], context),
    )
    this.#held.delete(button)
    return delivery
  }

  /** Turns the wheel: positive notches scroll down, as in browsers. */
  async scroll(notches: number, options: MouseOptions = {}): Promise<Delivery> {
    if (!Number.isInteger(notches) || notches === 0) {
      throw configError('ATP_MOUSE_COUNT', `${this.#vm}: mouse.scroll cannot turn the wheel by ${notches} notches`, {
        remedy: 'give a whole number, positive for down, negative for up',
      })
    }
    const button = notches > 0 ? 'wheel-down' : 'wheel-up'
    const action = { name: 'mouse.scroll', input: `${notches}`, target: 'pointer', options } as const
    return this.#run(action, async (context) => {
      for (let done = 0; done < Math.abs(notches); done++) {
        await this.#step(
          [
            { type: 'button', button, down: true },
            { type: 'button', button, down: false },
          ],
          context,
        )
      }
      return undefined
    })
  }

  /** Releases every button that {@link down} left pressed. */
  async releaseAll(options: InputOptions = {}): Promise<void> {
    for (const button of this.#held) await this.up(button, { verify: 'off', ...options })
  }

  #run(action: MouseAction, body: ActionBody, held: ReadonlySet<MouseButton> = this.#held): Promise<Delivery> {
    const codes = new Set([...held].map((button) => BUTTONS[button]))
    return this.#queue.run({ ...action, held: codes }, async (context) => {
      try {
        return await body(context)
      } finally {
        this.#remember(context)
      }
    })
  }

  /** For the account: where the guest has the pointer after the action. */
  #reached(place: Place): NonNullable<Action['pointer']> {
    return ({ observed }) => {
      this.#note(observed)
      return placeRecord(place, this.#position)
    }
  }

  /** Injects and waits until the guest has seen it, or for a fixed pause where nobody looks. */
  async #step(events: InputEvent[], { recording, path, observed, signal }: ActionContext): Promise<undefined> {
    if (events.length === 0) return
    await recording.inject(events, { signal })
    if (observed) await recording.waitUntil(() => recording.complete, STEP_MS, signal)
    else await sleep(FIXED_PACE_MS[path.name.device], signal)
  }

  /**
   * The guest reports an axis only when it changes. Where it may be at the target already it is first moved aside by
   * as little as path and observer tell apart (a fraction of a pixel with QMP and evdev), so that arriving is always
   * seen.
   */
  async #moveTo(target: ReadonlyMap<Axis, number>, context: ActionContext): Promise<void> {
    const { recording, observed, resolution, path, signal } = context
    if (observed) {
      for (const [axis, value] of target) {
        const known = this.#position.get(axis)
        const reached = path.nearest?.(axis, value) ?? value
        if (known !== undefined && Math.abs(known - reached) >= resolution) continue
        const step = Math.max(path.step?.(axis) ?? 1, resolution)
        const aside = value + step > ABS_MAX ? value - step : value + step
        const before = recording.observed.length
        await recording.inject([{ type: 'abs', axis, value: aside }], { signal, optional: true })
        await recording.waitUntil(() => recording.observed.length > before, STEP_MS, signal)
      }
    }
    await this.#step(
      [...target].map(([axis, value]) => ({ type: 'abs', axis, value })),
      context,
    )
  }

  #remember({ recording, observed }: ActionContext): void {
    if (!observed && recording.sent.some((event) => event.type === 'abs')) this.#position.clear()
    this.#note(recording.observed)
  }

  #note(observed: readonly ObservedEvent[]): void {
    for (const event of observed) {
      if (event.type === 'abs' && event.code <= 1) this.#position.set(event.code === 0 ? 'x' : 'y', event.value)
    }
  }

  async #place(asked: Point, { unit = 'pixel', signal, timeoutMs }: MouseOptions): Promise<Place> {
    const { x, y } = asked
    const fraction = unit === 'fraction'
    const screen = fraction ? { width: 1, height: 1 } : await this.#screen({ signal, timeoutMs })
    const { width, height } = screen
    const within = (value: number, size: number) => value >= 0 && (fraction ? value <= 1 : value <= size - 1)
    if (!within(x, width) || !within(y, height)) {
      throw configError('ATP_MOUSE_RANGE', `${this.#vm}: ${x}, ${y} is off the screen`, {
        context: { vm: this.#vm, x, y, unit, ...(fraction ? {} : { width, height }) },
        remedy: fraction ? 'fractions go from 0 to 1' : `the screen has ${width} × ${height} pixels, counted from 0`,
      })
    }
    const toAbs = (value: number, size: number) => (fraction ? Math.round(value * ABS_MAX) : pixelToAbs(value, size))
    const axes = new Map<Axis, number>([
      ['x', toAbs(x, width)],
      ['y', toAbs(y, height)],
    ])
    return { asked: { x, y }, unit, axes, screen }
  }

  #assertFree(button: MouseButton): void {
    if (!this.#held.has(button)) return
    throw stateError('ATP_MOUSE_HELD', `${this.#vm}: the ${button} button is down already`, {
      remedy: 'call mouse.up first',
    })
  }
}

type MouseAction = Omit<Action, 'held'>
type Seeing = Pick<ActionContext, 'path' | 'resolution'>
type PositionEvent = Extract<InputEvent, { type: 'abs' }>

/** The place so far on the way from one place to another. */
function between(from: Place['axes'], to: Place['axes'], share: number): Place['axes'] {
  return new Map(
    [...from].map(([axis, value]) => [axis, Math.round(value + ((to.get(axis) ?? value) - value) * share)]),
  )
}

/** Moves only the axes that surely are seen to reach another position: a guest reports no others. */
function changes(from: Place['axes'], to: Place['axes'], { path, resolution }: Seeing) {
  const reached = (axis: Axis, value: number) => path.nearest?.(axis, value) ?? value
  const distance = (axis: Axis, value: number) =>
    Math.abs(reached(axis, from.get(axis) ?? -resolution) - reached(axis, value))
  return [...to].flatMap(([axis, value]): PositionEvent[] =>
    distance(axis, value) < resolution ? [] : [{ type: 'abs', axis, value }],
  )
}

function clamp(distance: number): number {
  return Math.max(-MAX_STEP, Math.min(MAX_STEP, distance))
}
