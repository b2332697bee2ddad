import { interrupted, sleep, withDeadline, type CallOptions } from '../../../core/deadline.ts'
import { isAtpError } from '../../../core/errors.ts'
import { SpiceChannel, type ChannelHost } from '../channel.ts'
import { mouseModeError, silentError } from '../errors.ts'
import { INPUTS_CAP, INPUTS_CLIENT, INPUTS_SERVER, KEYBOARD_MODIFIER, MOUSE_BUTTON } from '../wire/numbers.ts'
import { SpiceReader } from '../wire/reader.ts'
import { SpiceWriter } from '../wire/writer.ts'
import type { MouseMode } from './main.ts'

export type SpiceMouseButton = 'left' | 'middle' | 'right' | 'side' | 'extra'
/** Locks of the keyboard that are on. */
export type KeyboardModifier = keyof typeof KEYBOARD_MODIFIER

export interface SpiceInputOptions extends CallOptions {
  /** Called immediately before the message leaves. */
  onSend?: () => void
  /** Whoever sends knows that the device's queue has room: the message leaves without a gap. */
  hasRoom?: boolean
}

/** What inputs need of their session. */
export interface InputsHost extends ChannelHost {
  readonly mouseMode: MouseMode
}

const TIMEOUT_MS = 10_000
/**
 * Least time between two messages. QEMU's keyboards and pointers have queues of 16 events, and drop without a word
 * what does not fit: 20 strokes sent at once lost more than half, strokes half a millisecond apart none.
 */
const GAP_MS = 1
/** `SPICE_INPUT_MOTION_ACK_BUNCH`: the server acknowledges that many motions at once. */
const MOTION_BUNCH = 4
/** Motions that may be on their way. */
const MOTIONS_MAX = 2 * MOTION_BUNCH
/** The server closes the channel for a longer message. */
const SCANCODES_MAX_BYTES = 1024

/**
 * Keyboard and mouse. Messages leave one after another, far enough apart that the VM's devices lose none.
 *
 * Keys are set-1 scan codes, `0xe0XX` for those with the e0 prefix, as in the framework's key table.
 */
export class InputsChannel extends SpiceChannel {
  /** Called when the guest changes its keyboard's locks. */
  onModifiers: ((modifiers: ReadonlySet<KeyboardModifier>) => void) | undefined
  readonly #host: InputsHost
  readonly #held = new Set<number>()
  readonly #buttons = new Set<SpiceMouseButton>()
  #modifiers: ReadonlySet<KeyboardModifier> = new Set()
  #initialised = false
  #turn: Promise<void> = Promise.resolve()
  /** Messages asked for and not sent. */
  #waiting = 0
  #sentAtMs = 0
  #motions = 0
  #onMotionAck: (() => void) | undefined
  #onHeard: (() => void) | undefined

  constructor(host: InputsHost, id = 0) {
    super(host, { type: 'inputs', id })
    this.#host = host
  }

  /** Locks that are on, as the server last told. */
  get modifiers(): ReadonlySet<KeyboardModifier> {
    return this.#modifiers
  }

  /** Scan codes of the keys that are down. */
  get held(): ReadonlySet<number> {
    return this.#held
  }

  /** @throws `ATP_SPICE_CLOSED`, `ATP_TIMEOUT`, `ATP_INTERRUPTED`; so do all that follow. */
  async keyDown(scancode: number, options: SpiceInputOptions = {}): Promise<void> {
    const body = () => {
      this.#held.add(scancode)
      return keyBody(scancode, false)
    }
    await this.#paced(INPUTS_CLIENT.keyDown, body, options)
  }

  async keyUp(scancode: number, options: SpiceInputOptions = {}): Promise<void> {
    await this.#paced(INPUTS_CLIENT.keyUp, () => keyBody(scancode, true), options)
    this.#held.delete(scancode)
  }

  /** Sends bytes of set 1 as they are, make and break codes, prefixes included. */
  async scancodes(bytes: Uint8Array, options: SpiceInputOptions = {}): Promise<void> {
    for (let at = 0; at < bytes.length; at += SCANCODES_MAX_BYTES) {
      const part = bytes.slice(at, at + SCANCODES_MAX_BYTES)
      await this.#paced(INPUTS_CLIENT.keyScancode, () => part, options)
    }
  }

  /** Sets the locks of the guest's keyboard. */
  async setModifiers(modifiers: Iterable<KeyboardModifier>, options: SpiceInputOptions = {}): Promise<void> {
    let bits = 0
    for (const name of modifiers) bits |= KEYBOARD_MODIFIER[name]
    await this.#paced(INPUTS_CLIENT.keyModifiers, () => new SpiceWriter(2).u16(bits).finish(), options)
  }

  /** Moves the mouse by a distance. @throws `ATP_SPICE_MOUSE_MODE` while the session is in client mode. */
  async mouseMotion(dx: number, dy: number, options: SpiceInputOptions = {}): Promise<void> {
    this.#assertMode('server')
    const body = () => new SpiceWriter(10).i32(dx).i32(dy).u16(this.#buttonBits()).finish()
    await this.#paced(INPUTS_CLIENT.mouseMotion, body, options, true)
  }

  /**
   * Puts the mouse at a pixel of a display.
   *
   * @throws `ATP_SPICE_MOUSE_MODE` while the session is in server mode.
   */
  async mousePosition(x: number, y: number, options: SpiceInputOptions & { display?: number } = {}): Promise<void> {
    this.#assertMode('client')
    const { display = 0 } = options
    const body = () => new SpiceWriter(11).u32(x).u32(y).u16(this.#buttonBits()).u8(display).finish()
    await this.#paced(INPUTS_CLIENT.mousePosition, body, options, true)
  }

  async mousePress(button: SpiceMouseButton, options: SpiceInputOptions = {}): Promise<void> {
    // When its turn has come: what was asked for before must not tell of it.
    const body = () => {
      this.#buttons.add(button)
      return this.#buttonBody(MOUSE_BUTTON[button])
    }
    await this.#paced(INPUTS_CLIENT.mousePress, body, options)
  }

  async mouseRelease(button: SpiceMouseButton, options: SpiceInputOptions = {}): Promise<void> {
    const body = () => {
      this.#buttons.delete(button)
      return this.#buttonBody(MOUSE_BUTTON[button])
    }
    await this.#paced(INPUTS_CLIENT.mouseRelease, body, options)
  }

  /** Turns the wheel: positive notches down, negative up. */
  async wheel(notches: number, options: SpiceInputOptions = {}): Promise<void> {
    const button = notches > 0 ? MOUSE_BUTTON.wheelDown : MOUSE_BUTTON.wheelUp
    for (let done = 0; done < Math.abs(notches); done++) {
      await this.#paced(INPUTS_CLIENT.mousePress, () => this.#buttonBody(button), options)
      await this.#paced(INPUTS_CLIENT.mouseRelease, () => this.#buttonBody(button), options)
    }
  }

  /** Lets go of everything that is down. */
  async releaseAll(options: SpiceInputOptions = {}): Promise<void> {
    for (const scancode of [...this.#held].toReversed()) await this.keyUp(scancode, options)
    for (const button of this.#buttons) await this.mouseRelease(button, options)
  }

  override get hasHeartbeat(): boolean {
    return true
  }

  /**
   * Asks for an acknowledgement of motions: with such as are for the other mouse mode, which a server acknowledges and
   * drops.
   */
  override async heartbeat(timeoutMs: number): Promise<void> {
    const isServer = this.#host.mouseMode === 'server'
    const type = isServer ? INPUTS_CLIENT.mousePosition : INPUTS_CLIENT.mouseMotion
    const body = new Uint8Array(isServer ? 11 : 10)
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#onHeard = resolve
    for (let count = 0; count < MOTION_BUNCH; count++) {
      this.#motions++
      await this.send(type, body)
    }
    try {
      await withDeadline('heartbeat', { timeoutMs }, () => promise)
    } catch (error) {
      if (isAtpError(error, 'ATP_TIMEOUT')) throw silentError(this.place, timeoutMs)
      throw error
    }
  }

  protected override get capabilities(): readonly number[] {
    return [INPUTS_CAP.keyScancode]
  }

  protected override get ready(): boolean {
    return this.#initialised
  }

  protected override reset(): void {
    this.#initialised = false
    this.#motions = 0
    this.#onMotionAck?.()
    this.#onHeard?.()
  }

  protected override handle(type: number, body: Uint8Array): boolean {
    this.#onHeard?.()
    const reader = new SpiceReader(body, `${this.place}, message ${type}`)
    switch (type) {
      case INPUTS_SERVER.init:
        this.#setModifiers(reader.u16())
        this.#initialised = true
        // What was down when the last connection ended.
        void this.releaseAll().catch(() => {})
        return true
      case INPUTS_SERVER.keyModifiers:
        this.#setModifiers(reader.u16())
        return true
      case INPUTS_SERVER.mouseMotionAck:
        this.#motions = Math.max(0, this.#motions - MOTION_BUNCH)
        this.#onMotionAck?.()
        return true
      default:
        return false
    }
  }

  #setModifiers(bits: number): void {
    const names = Object.keys(KEYBOARD_MODIFIER) as KeyboardModifier[]
    this.#modifiers = new Set(names.filter((name) => (bits & KEYBOARD_MODIFIER[name]) !== 0))
    this.onModifiers?.(this.#modifiers)
  }

  #assertMode(wanted: MouseMode): void {
    if (this.#host.mouseMode !== wanted) throw mouseModeError(this.place, wanted)
  }

  #buttonBits(): number {
    let bits = 0
    for (const name of this.#buttons) bits |= 1 << (MOUSE_BUTTON[name] - 1)
    return bits
  }

  #buttonBody(button: number): Uint8Array {
    return new SpiceWriter(3).u8(button).u16(this.#buttonBits()).finish()
  }

  /** Sends when all that was asked for before is sent and the gap has passed. */
  async #paced(
    type: number,
    body: () => Uint8Array,
    { signal, timeoutMs = TIMEOUT_MS, onSend, hasRoom = false }: SpiceInputOptions,
    motion = false,
  ): Promise<void> {
    const before = this.#turn
    const done = Promise.withResolvers<void>()
    this.#turn = done.promise
    const leave = (): Promise<void> => {
      if (motion) this.#motions++
      const bytes = body()
      onSend?.()
      this.#sentAtMs = performance.now()
      return this.send(type, bytes)
    }
    // To get ready for waiting takes longer than to send: what need not wait leaves first.
    const sent = this.#waiting++ === 0 && !signal?.aborted && this.#mayLeave(motion, hasRoom) ? leave() : undefined
    try {
      await withDeadline(`${this.place}: sending input`, { signal, timeoutMs }, async (stop) => {
        if (sent) return await sent
        await before
        // A timer may fire early by most of a millisecond.
        while (!hasRoom && this.#gapLasts) await sleep(GAP_MS, stop)
        while (motion && this.#motions >= MOTIONS_MAX && this.state === 'open') {
          await new Promise<void>((resolve) => (this.#onMotionAck = resolve))
        }
        if (stop.aborted) throw interrupted(`${this.place}: sending input`, stop)
        await leave()
      })
    } finally {
      this.#waiting--
      done.resolve()
    }
  }

  get #gapLasts(): boolean {
    return performance.now() - this.#sentAtMs < GAP_MS
  }

  #mayLeave(motion: boolean, hasRoom: boolean): boolean {
    return (hasRoom || !this.#gapLasts) && !(motion && this.#motions >= MOTIONS_MAX)
  }
}

/** A key's make or break code, its bytes first to last in a little-endian word. */
function keyBody(scancode: number, up: boolean): Uint8Array {
  const code = (scancode & 0xff) | (up ? 0x80 : 0)
  return new SpiceWriter(4).u32(scancode > 0xff ? 0xe0 | (code << 8) : code).finish()
}
