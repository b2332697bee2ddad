import { configError, sleep, stateError, type CallOptions } from '../core/index.ts'
import { BUTTONS } from '../keys/index.ts'
import { ActionQueue, type Action, type ActionBody, type ActionContext, type InputHost } from './action.ts'
import type { Delivery, InputEvent, InputOptions, Mouse, MouseButton, MouseOptions } from './api.ts'
import { FIXED_PACE_MS } from './pacing.ts'

/** Positions on QEMU's absolute axes. */
const ABS_MAX = 32_767
/** One packet of a PS/2 mouse carries at most this distance. */
const MAX_STEP = 127
/** How long to wait for one step of a longer motion to be seen, milliseconds. */
const STEP_MS = 100

type Axis = 'x' | 'y'

/** The screen the pointer moves on, in pixels. */
export interface ScreenSize {
  width: number
  height: number
}

/** The position on QEMU's axis for a pixel. It is off by at most half a unit: `width / 65534` pixels. */
export function pixelToAbs(pixel: number, sizePixels: number): number {
  return sizePixels <= 1 ? 0 : Math.round((pixel * ABS_MAX) / (sizePixels - 1))
}

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
    const target = await this.#toAbs(x, y, options)
    return this.#run('mouse.move', `${x}, ${y}`, 'tablet', options, async (context) => {
      await this.#moveTo(target, context)
      return undefined
    })
  }

  /** Moves by mouse counts, which a guest without pointer acceleration takes for pixels. */
  async moveBy(dx: number, dy: number, options: MouseOptions = {}): Promise<Delivery> {
    if (!Number.isInteger(dx) || !Number.isInteger(dy)) {
      throw configError('ATP_MOUSE_RANGE', `${this.#vm}: cannot move by ${dx}, ${dy}`, {
        remedy: 'relative motion is counted in whole steps',
      })
    }
    return this.#run('mouse.moveBy', `${dx}, ${dy}`, 'mouse', options, async (context) => {
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
    const target = x === undefined || y === undefined ? undefined : await this.#toAbs(x, y, options)
    const input = `${button}${count > 1 ? ` × ${count}` : ''}${target ? ` at ${x}, ${y}` : ''}`
    return this.#run('mouse.click', input, target ? 'tablet' : 'pointer', options, async (context) => {
      if (target) await this.#moveTo(target, context)
      for (let done = 0; done < count; done++) {
        await this.#step([{ type: 'button', button, down: true }], context)
        await this.#step([{ type: 'button', button, down: false }], context)
      }
      return undefined
    })
  }

  /** @throws `ATP_MOUSE_HELD` when it is down already. */
  async down(button: MouseButton = 'left', options: MouseOptions = {}): Promise<Delivery> {
    this.#assertFree(button)
    const held = new Set([...this.#held, button])
    const delivery = await this.#run(
      'mouse.down',
      button,
      'pointer',
      options,
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
    const delivery = await this.#run('mouse.up', button, 'pointer', options, (context) =>
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
    return this.#run('mouse.scroll', `${notches}`, 'pointer', options, async (context) => {
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

  #run(
    name: string,
    input: string,
    target: Action['target'],
    options: MouseOptions,
    body: ActionBody,
    held: ReadonlySet<MouseButton> = this.#held,
  ): Promise<Delivery> {
    const codes = new Set([...held].map((button) => BUTTONS[button]))
    return this.#queue.run({ name, input, target, options, held: codes }, async (context) => {
      try {
        return await body(context)
      } finally {
        this.#remember(context)
      }
    })
  }

  /** Injects and waits until the guest has seen it, or for a fixed pause where nobody looks. */
  async #step(events: InputEvent[], { recording, path, observed, signal }: ActionContext): Promise<undefined> {
    await recording.inject(events, { signal })
    if (observed) await recording.waitUntil(() => recording.complete, STEP_MS, signal)
    else await sleep(FIXED_PACE_MS[path.name.device], signal)
  }

  /**
   * The guest reports an axis only when it changes. Where it may be at the target already it is first moved aside by
   * as little as the path can (with QMP a fraction of a pixel), so that arriving is always seen.
   */
  async #moveTo(target: ReadonlyMap<Axis, number>, context: ActionContext): Promise<void> {
    const { recording, observed, path, signal } = context
    if (observed) {
      for (const [axis, value] of target) {
        const known = this.#position.get(axis)
        if (known !== undefined && known !== (path.nearest?.(axis, value) ?? value)) continue
        const step = path.step?.(axis) ?? 1
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
    for (const event of recording.observed) {
      if (event.type === 'abs' && event.code <= 1) this.#position.set(event.code === 0 ? 'x' : 'y', event.value)
    }
  }

  async #toAbs(x: number, y: number, { unit = 'pixel', signal, timeoutMs }: MouseOptions): Promise<Map<Axis, number>> {
    const fraction = unit === 'fraction'
    const { width, height } = fraction ? { width: 1, height: 1 } : await this.#screen({ signal, timeoutMs })
    const within = (value: number, size: number) => value >= 0 && (fraction ? value <= 1 : value <= size - 1)
    if (!within(x, width) || !within(y, height)) {
      throw configError('ATP_MOUSE_RANGE', `${this.#vm}: ${x}, ${y} is off the screen`, {
        context: { vm: this.#vm, x, y, unit, ...(fraction ? {} : { width, height }) },
        remedy: fraction ? 'fractions go from 0 to 1' : `the screen has ${width} × ${height} pixels, counted from 0`,
      })
    }
    const toAbs = (value: number, size: number) => (fraction ? Math.round(value * ABS_MAX) : pixelToAbs(value, size))
    return new Map([
      ['x', toAbs(x, width)],
      ['y', toAbs(y, height)],
    ])
  }

  #assertFree(button: MouseButton): void {
    if (!this.#held.has(button)) return
    throw stateError('ATP_MOUSE_HELD', `${this.#vm}: the ${button} button is down already`, {
      remedy: 'call mouse.up first',
    })
  }
}

function clamp(distance: number): number {
  return Math.max(-MAX_STEP, Math.min(MAX_STEP, distance))
}
