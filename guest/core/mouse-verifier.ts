import { configError } from '../../framework/core/errors.ts'
import type { VerifierEvent } from '../protocol/index.ts'
import type { InputSource, SeenInput } from './input-source.ts'
import { untilSeen } from './until-seen.ts'
import type { Verification, Verifier } from './verifier.ts'

// Linux input-event-codes.h.
const BUTTONS: Readonly<Record<string, number>> = {
  left: 0x110,
  right: 0x111,
  middle: 0x112,
  side: 0x113,
  extra: 0x114,
}
const REL_X = 0
const REL_Y = 1
const REL_HWHEEL = 6
const REL_WHEEL = 8
/** Positions of the virtual tablet over the whole screen. */
const TABLET_MAX = 32_767

/** Says of each input whether everything was seen with it. */
type Take = (input: SeenInput) => boolean

/**
 * Verifies single inputs of a mouse or tablet:
 *
 * - `move` to `x, y`: units of the tablet, 0…32767, exactly; pixels, to within one pixel, where the event says
 *   `screen_width` and `screen_height`. A position that the pointer has already is not reported by any kernel.
 * - `move_by` a distance `x, y`, in however many pieces.
 * - `down`, `up`, `click`, `double_click` of `button` (default left).
 * - `wheel` by `y` notches (up is positive) or `x`.
 */
export class MouseVerifier implements Verifier {
  readonly verifierType = 'mouse'
  readonly #source: InputSource
  /** The last position of each axis: the kernel does not repeat what did not change. */
  readonly #position = new Map<number, number>()
  #follows: Promise<unknown> | undefined

  constructor(source: InputSource) {
    this.#source = source
  }

  /** @throws `ATP_VERIFIER_EVENT`, `ATP_VERIFIER_DEVICE` */
  async verify(event: VerifierEvent, signal: AbortSignal): Promise<Verification> {
    this.#follows ??= this.#follow()
    await this.#follows
    const guestNs = await untilSeen(this.#source, signal, this.#takeOf(event))
    return { verified: true, details: { action: event.action, guest_ns: String(guestNs) } }
  }

  async #follow(): Promise<void> {
    try {
      await this.#source.watch({
        onInput: ({ kind, code, value }) => {
          if (kind === 'abs') this.#position.set(code, value)
        },
        onGap: () => this.#position.clear(),
      })
    } catch (error) {
      this.#follows = undefined
      throw error
    }
  }

  #takeOf({ action, metadata }: VerifierEvent): Take {
    switch (action) {
      case 'move':
        return this.#reached(metadata)
      case 'move_by':
        return distance([
          [REL_X, numberOf(metadata, 'x')],
          [REL_Y, numberOf(metadata, 'y')],
        ])
      case 'wheel':
        return distance([
          [REL_HWHEEL, numberOf(metadata, 'x', 0)],
          [REL_WHEEL, numberOf(metadata, 'y', 0)],
        ])
      case 'down':
        return values(buttonOf(metadata), [1])
      case 'up':
        return values(buttonOf(metadata), [0])
      case 'click':
        return values(buttonOf(metadata), [1, 0])
      case 'double_click':
        return values(buttonOf(metadata), [1, 0, 1, 0])
      default:
        throw configError('ATP_VERIFIER_EVENT', `a mouse event cannot be "${action}"`, {
          remedy: 'use move, move_by, down, up, click, double_click, wheel',
        })
    }
  }

  #reached(metadata: VerifierEvent['metadata']): Take {
    const wanted = [
      scaled(numberOf(metadata, 'x'), metadata['screen_width']),
      scaled(numberOf(metadata, 'y'), metadata['screen_height']),
    ]
    return ({ kind, code, value }) => {
      if (kind !== 'abs') return false
      return wanted.every(({ at, tolerance }, axis) => {
        const is = axis === code ? value : this.#position.get(axis)
        return is !== undefined && Math.abs(is - at) <= tolerance + (this.#source.tolerance ?? 0)
      })
    }
  }
}

function scaled(value: number, size: unknown): { at: number; tolerance: number } {
  if (size === undefined) return { at: value, tolerance: 0 }
  if (typeof size !== 'number' || !(size > 1)) {
    throw configError('ATP_VERIFIER_EVENT', 'screen_width and screen_height are numbers of pixels')
  }
  return { at: (value * TABLET_MAX) / (size - 1), tolerance: TABLET_MAX / (size - 1) }
}

function distance(axes: readonly (readonly [code: number, wanted: number])[]): Take {
  const left = new Map(axes)
  return ({ kind, code, value }) => {
    const distance = left.get(code)
    if (kind === 'rel' && distance !== undefined) left.set(code, distance - value)
    return kind === 'rel' && [...left.values()].every((each) => each === 0)
  }
}

function values(button: number, wanted: readonly number[]): Take {
  let next = 0
  return ({ kind, code, value }) => {
    if (kind === 'key' && code === button && value === wanted[next]) next++
    return next === wanted.length
  }
}

function buttonOf(metadata: VerifierEvent['metadata']): number {
  const code = BUTTONS[String(metadata['button'] ?? 'left')]
  if (code !== undefined) return code
  throw configError('ATP_VERIFIER_EVENT', `there is no mouse button "${String(metadata['button'])}"`, {
    remedy: `use ${Object.keys(BUTTONS).join(', ')}`,
  })
}

function numberOf(metadata: VerifierEvent['metadata'], name: string, absent?: number): number {
  const value = metadata[name] ?? absent
  if (typeof value === 'number' && Number.isFinite(value)) return value
  throw configError('ATP_VERIFIER_EVENT', `the mouse event has no number "${name}"`)
}
