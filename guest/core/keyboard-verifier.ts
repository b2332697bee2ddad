import { configError } from '../../framework/core/errors.ts'
import { keyNamed } from '../../framework/keys/names.ts'
import type { VerifierEvent } from '../protocol/index.ts'
import type { InputSource } from './input-source.ts'
import { untilSeen } from './until-seen.ts'
import type { Verification, Verifier } from './verifier.ts'

/** Values of a key by action, in the order they must come. */
const VALUES: Readonly<Record<string, readonly number[]>> = { keydown: [1], keyup: [0], press: [1, 0] }

/**
 * Verifies single keys: `keydown`, `keyup`, or `press` for both in turn. `key` is any name of the key table: a QEMU
 * qcode, an evdev name, a `KeyboardEvent.code`. Other keys that come meanwhile do not matter.
 */
export class KeyboardVerifier implements Verifier {
  readonly verifierType = 'keyboard'
  readonly #source: InputSource

  constructor(source: InputSource) {
    this.#source = source
  }

  /** @throws `ATP_KEY_UNKNOWN`, `ATP_VERIFIER_EVENT`, `ATP_VERIFIER_DEVICE` */
  async verify({ key, action }: VerifierEvent, signal: AbortSignal): Promise<Verification> {
    if (key === undefined) throw configError('ATP_VERIFIER_EVENT', 'the keyboard event names no key')
    const values = VALUES[action]
    if (!values) {
      throw configError('ATP_VERIFIER_EVENT', `a keyboard event cannot be "${action}"`, {
        remedy: `use ${Object.keys(VALUES).join(', ')}`,
      })
    }
    const { evdev } = keyNamed(key)
    let next = 0
    const guestNs = await untilSeen(this.#source, signal, ({ kind, code, value }) => {
      if (kind === 'key' && code === evdev.code && value === values[next]) next++
      return next === values.length
    })
    return { verified: true, details: { key: evdev.name, action, guest_ns: String(guestNs) } }
  }
}
