import { randomUUID } from 'node:crypto'
import { Agent, MessageQueue, type InputSource, type VerifierTransport } from '../../../../guest/core/index.ts'
import { lineFraming, OPENING } from '../../../../guest/protocol/index.ts'
import type { ByteStream } from '../../../../framework/wire/byte-stream.ts'
import type { SimulatedGuest } from '../../input/simulated-guest.ts'

/** The guest's end of a virtio-serial port, without the port. */
export class StreamTransport implements VerifierTransport {
  readonly #stream: ByteStream
  readonly #messages = new MessageQueue()
  /** What the agent sends is delayed or lost by whoever sets this. */
  tamper: (bytes: Uint8Array, send: (bytes: Uint8Array) => void) => void = (bytes, send) => send(bytes)

  constructor(stream: ByteStream) {
    this.#stream = stream
    const decoder = lineFraming.decoder()
    stream.start({
      onData: (chunk) => decoder.push(chunk).forEach((text) => this.#messages.push(text)),
      onClose: () => this.#messages.end(),
    })
    stream.write(OPENING).catch(() => {})
  }

  async connect(): Promise<void> {}

  send(message: Parameters<VerifierTransport['send']>[0]): void {
    this.tamper(lineFraming.encode(message), (bytes) => void this.#stream.write(bytes).catch(() => {}))
  }

  receive(): Promise<string | undefined> {
    return this.#messages.next()
  }

  close(): void {
    this.#stream.destroy()
  }
}

/** The guest package's agent, which sees what a simulated guest takes. */
export function simulatedAgent(guest: SimulatedGuest, more: { readsClock?: boolean } = {}): Agent {
  const source = (device: InputSource['device']): InputSource => ({
    device,
    watch: async (sink) =>
      guest.subscribe(
        ({ type: kind, code, value, guestNs }) => sink.onInput({ kind, code, value, guestNs }),
        (reason) => sink.onGap(reason),
      ),
  })
  return new Agent({
    identity: {
      vm_id: 'vm-007',
      session: randomUUID(),
      agent: { version: '0', platform: 'linux' },
      level: 'kernel',
    },
    verifiers: [],
    sources: [source('keyboard'), source('mouse')],
    ...(more.readsClock === false ? {} : { readClock: () => ({ guest_ns: String(process.hrtime.bigint()) }) }),
    newId: randomUUID,
  })
}
