import { withDeadline } from '../../framework/core/index.ts'
import type { DesktopVm } from '../../framework/desktop/index.ts'
import type { InputObserver } from '../../framework/input/api.ts'
import type { ProtocolTarget } from '../../framework/protocols/protocol.ts'
import { parseDomainXml } from '../../framework/protocols/libvirt/index.ts'
import { GuestClock, startEvdevObserver } from '../../framework/verify/index.ts'

/** Left Shift does nothing to whatever runs in the guest. */
export const KEY = { scancode: 0x2a, qcode: 'shift', evdev: 42 }
const EVENT_MS = 5000
/** Time between two events: our own pacing must not be measured. */
const REST_MS = 3

/** One way to a VM's keyboard. */
export interface KeyWay {
  open(): Promise<void>
  /** Sends a key; resolves to when it was asked for, as `process.hrtime` counts. */
  send(down: boolean): Promise<bigint>
  close(): Promise<void>
}

export interface KeySample {
  /** From the call to the time that the guest's kernel gave the event. */
  kernelMs: number
  /** From the call to when we read the event: without a second clock, but with the way back. */
  arrivalMs: number
  /** How far {@link kernelMs} may be off, since guest and host have clocks of their own. */
  boundMs: number
}

interface KeyEvent {
  atNs: bigint
  guestNs: bigint
  arrivedNs: bigint
}

/** Sees one key of a guest, whoever sends it. */
export class KeyWatch implements AsyncDisposable {
  readonly #observer: Awaited<ReturnType<typeof startEvdevObserver>>
  readonly #clock: GuestClock

  private constructor(observer: Awaited<ReturnType<typeof startEvdevObserver>>, clock: GuestClock) {
    this.#observer = observer
    this.#clock = clock
  }

  static async start(vm: DesktopVm, target: ProtocolTarget): Promise<KeyWatch> {
    const clock = new GuestClock(async (options) => (await vm.qga(options)).getTime(options))
    const channels = parseDomainXml(await target.xml()).channels.flatMap(({ name }) => name ?? [])
    const guest = {
      shell: async (line: string, options?: object) => (await vm.qga(options)).shell(line, options),
      openChannel: target.openChannel,
      clock,
    }
    return new KeyWatch(await startEvdevObserver(guest, { what: 'keyboard', device: 'ps2', channels }), clock)
  }

  /** What else may look at the guest while it is watched. */
  get observer(): InputObserver {
    return this.#observer
  }

  /** Compares the clocks. Events between two comparisons are known best. */
  async compareClocks(): Promise<void> {
    await this.#clock.estimate()
  }

  /** Presses and releases the key so often, each event after the one before arrived. */
  async measure(way: KeyWay, strokes: number): Promise<KeyEvent[]> {
    const seen: KeyEvent[] = []
    for (let stroke = 0; stroke < strokes; stroke++) {
      for (const down of [true, false]) seen.push(await this.#once(way, down))
    }
    return seen
  }

  /** One press, by somebody who releases the key too, between two comparisons of the clocks. */
  async press(send: () => Promise<bigint>): Promise<KeySample> {
    await this.#clock.refresh()
    const released = this.#seen(false)
    const [pressed] = await Promise.all([this.#await(true, send), released])
    await this.#clock.estimate()
    return this.sampleOf(pressed)
  }

  sampleOf({ atNs, guestNs, arrivedNs }: KeyEvent): KeySample {
    const { hostNs, boundNs, invalid } = this.#observer.toHostTime(guestNs, { fromNs: atNs, toNs: arrivedNs })
    if (invalid !== undefined) throw new Error(`a sample cannot be believed: ${invalid}`)
    return {
      kernelMs: Number(hostNs - atNs) / 1e6,
      arrivalMs: Number(arrivedNs - atNs) / 1e6,
      boundMs: Number(boundNs) / 1e6,
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#observer.close()
    this.#clock.close()
  }

  #once(way: KeyWay, down: boolean): Promise<KeyEvent> {
    return this.#await(down, () => way.send(down))
  }

  async #await(down: boolean, send: () => Promise<bigint>): Promise<KeyEvent> {
    const rested = new Promise((resolve) => setTimeout(resolve, REST_MS))
    const [atNs, event] = await Promise.all([rested.then(send), this.#seen(down)])
    return { atNs, ...event }
  }

  async #seen(down: boolean): Promise<Omit<KeyEvent, 'atNs'>> {
    const arrived = Promise.withResolvers<{ guestNs: bigint; arrivedNs: bigint }>()
    const unsubscribe = this.#observer.subscribe(
      ({ type, code, value, guestNs, arrivedNs }) => {
        if (type === 'key' && code === KEY.evdev && value === Number(down)) arrived.resolve({ guestNs, arrivedNs })
      },
      (reason) => arrived.reject(new Error(reason)),
    )
    try {
      return await withDeadline('a key', { timeoutMs: EVENT_MS }, () => arrived.promise)
    } finally {
      unsubscribe()
    }
  }
}
