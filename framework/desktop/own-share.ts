import { messageOf } from '../core/index.ts'
import type { HostTime, InputObserver, ObservedEvent } from '../input/api.ts'
import { KeyboardDevice, QmpInputPath } from '../input/index.ts'
import { QmpClient } from '../protocols/qmp/index.ts'
import { memoryPair } from '../transport/index.ts'
import { reconcile } from '../verify/index.ts'
import type { ByteStream } from '../wire/byte-stream.ts'

/** What the framework itself takes of an input action on this machine, milliseconds. */
export interface OwnShare {
  /** From the injection's time stamp until the request has left: part of every latency. */
  request: { p50Ms: number; p99Ms: number }
  /** From the call until its account is there, for a single key that the guest sees at once. */
  action: { p50Ms: number; p99Ms: number }
  actions: number
}

const ACTIONS = 50
/** Until the code is compiled. */
const WARMUP = 10
const LEFT_SHIFT = 42

/**
 * Presses keys in a guest that is not there: the QMP client's other end is in this process, and reports each key as soon
 * as the request has arrived. What is measured then is the framework's own.
 */
export async function measureOwnShare(): Promise<OwnShare> {
  const [ours, theirs] = memoryPair()
  const guest = new InstantGuest(theirs)
  const qmp = await QmpClient.overStream(ours)
  try {
    const path = new QmpInputPath((command, args, options) => qmp.execute(command, args, options), 'ps2')
    const keyboard = new KeyboardDevice({ vm: 'loop-back', path: () => path, observe: async () => guest, reconcile })
    const requests: number[] = []
    const actions: number[] = []
    for (let count = 0; count < WARMUP + ACTIONS; count++) {
      const calledMs = performance.now()
      const { latenciesMs } = await keyboard.press('shift', { verify: 'require' })
      if (count < WARMUP) continue
      actions.push(performance.now() - calledMs)
      requests.push(...latenciesMs)
    }
    return { request: figures(requests), action: figures(actions), actions: ACTIONS }
  } finally {
    await qmp.close()
  }
}

/** `0.05 ms of each latency (p99 0.11), 12.30 ms of each key press (p99 13.02)` */
export function describeOwnShare({ request, action }: OwnShare): string {
  const text = ({ p50Ms, p99Ms }: OwnShare['request'], what: string) =>
    `${p50Ms.toFixed(2)} ms of each ${what} (p99 ${p99Ms.toFixed(2)})`
  return `${text(request, 'latency')}, ${text(action, 'key press')}`
}

function figures(values: readonly number[]): OwnShare['request'] {
  const sorted = values.toSorted((left, right) => left - right)
  const at = (share: number) => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] as number
  return { p50Ms: at(0.5), p99Ms: at(0.99) }
}

/** QEMU's end of a QMP stream and an observer in its guest: whose clock is the host's. */
class InstantGuest implements InputObserver {
  readonly level = 'kernel'
  readonly clock = 'host'
  readonly #stream: ByteStream
  #onEvent: (event: ObservedEvent) => void = () => {}
  #buffered = ''

  constructor(stream: ByteStream) {
    this.#stream = stream
    const version = { qemu: { major: 0, minor: 0, micro: 0 }, package: '' }
    this.#send({ QMP: { version, capabilities: [] } })
    stream.start({ onData: (chunk) => this.#receive(chunk), onClose: () => {} })
  }

  subscribe(onEvent: (event: ObservedEvent) => void): () => void {
    this.#onEvent = onEvent
    return () => (this.#onEvent = () => {})
  }

  toHostTime(guestNs: bigint): HostTime {
    return { hostNs: guestNs, boundNs: 0n }
  }

  #receive(chunk: Uint8Array): void {
    const arrivedNs = process.hrtime.bigint()
    const lines = (this.#buffered + Buffer.from(chunk).toString()).split('\n')
    this.#buffered = lines.pop() ?? ''
    for (const line of lines.filter((text) => text.trim() !== '')) {
      const { execute, id } = JSON.parse(line) as { execute: string; id?: unknown }
      if (execute === 'input-send-event') {
        const event = { type: 'key', code: LEFT_SHIFT, guestNs: arrivedNs, arrivedNs } as const
        for (const value of [1, 0]) this.#onEvent({ ...event, value })
      }
      this.#send({ return: {}, ...(id === undefined ? {} : { id }) })
    }
  }

  #send(message: object): void {
    this.#stream.write(Buffer.from(`${JSON.stringify(message)}\r\n`)).catch((error: unknown) => {
      this.#stream.destroy(new Error(messageOf(error)))
    })
  }
}
