import type { CallOptions } from '../../../core/deadline.ts'
import { unsupportedError } from '../../../core/errors.ts'
import type { PortChannel } from '../channels/data.ts'
import type { SpiceVmConnection } from '../vm-connection.ts'
import { SpicePort } from './spice-port.ts'

/** The ports of a VM by their names, which a server tells only when they are opened. */
export class SpicePorts {
  readonly #connection: SpiceVmConnection
  readonly #open = new Map<number, SpicePort>()
  /** Of the channels that were open once. */
  readonly #names = new Map<number, string>()
  #last: Promise<unknown> = Promise.resolve()

  constructor(connection: SpiceVmConnection) {
    this.#connection = connection
  }

  /**
   * The port of this name; the same object for everybody, until it is over.
   *
   * @throws `ATP_SPICE_PORT_UNKNOWN` with the names there are, what opening channels throws.
   */
  async port(name: string, options: CallOptions = {}): Promise<SpicePort> {
    // Two that search at once would take each other's channels.
    const found = this.#last.then(() => this.#find(name, options))
    this.#last = found.catch(() => {})
    return found
  }

  async #find(name: string, options: CallOptions): Promise<SpicePort> {
    const connection = this.#connection
    await connection.main.connect(options)
    for (const { type, id } of connection.main.channels) {
      if (type !== 'port' || (this.#names.get(id) ?? name) !== name) continue
      const known = this.#open.get(id)
      const port = known && !known.isOver ? known : await this.#openPort(id, options)
      if (port.name === name) return port
      // The guest must not take us for somebody who listens there.
      await port.close()
    }
    const names = [...this.#names.values()].toSorted()
    throw unsupportedError('ATP_SPICE_PORT_UNKNOWN', `${connection.server.name} has no SPICE port "${name}"`, {
      context: { name, names },
      remedy: `it has ${names.join(', ') || 'none'}; a port is a <channel type='spiceport'> of the VM`,
    })
  }

  async #openPort(id: number, options: CallOptions): Promise<SpicePort> {
    const portOn = (channel: PortChannel) =>
      new SpicePort(channel, async () => {
        if (this.#connection.getChannel('port', id) === channel) await this.#connection.closeChannel('port', id)
      })
    // Made before the channel is open, it misses no byte.
    let port: SpicePort | undefined
    const prepare = (channel: PortChannel) => (port = portOn(channel))
    const channel = await this.#connection.openChannel('port', { id, prepare, ...options })
    port ??= portOn(channel)
    this.#names.set(id, port.name)
    this.#open.set(id, port)
    return port
  }
}
