import type { CallOptions } from '../../core/deadline.ts'
import { configError, stateError, unsupportedError, type AtpError } from '../../core/errors.ts'
import { Secret } from '../../core/secret.ts'
import { parseDomainXml, type DomainGraphics } from '../libvirt/xml.ts'
import type { ConsoleAddress, Protocol, ProtocolBuilder, ProtocolTarget } from '../protocol.ts'
import type { SpiceCredentials } from './authenticate.ts'
import { channelClosedError } from './errors.ts'
import type { SpiceCarrier, SpiceServer } from './link-channel.ts'
import { setTicket } from './set-ticket.ts'
import { SpiceVmConnection, type SpiceConnectionOptions } from './vm-connection.ts'

export interface SpiceProtocolOptions extends Omit<SpiceConnectionOptions, 'server'> {
  /** What lets us in, instead of the password in the VM's XML. */
  credentials?: SpiceCredentials
  /**
   * Gives the console a new random password that is good for so many seconds, instead of using the one it has.
   * Sessions lost later than that do not come back.
   */
  newTicketForS?: number
}

/** `type u16, size u32`: in front of each message of {@link SpiceProtocol.send}. */
const HEADER_BYTES = 6
const TICKET_BYTES = 24

/**
 * SPICE behind the common interface: the console that the VM's XML describes. `connect` opens the main channel, the
 * inputs, and the display where the VM has one.
 *
 * `send` writes one message to the inputs channel, `receive` delivers the next one of the display channel: type and
 * size as on the wire (u16 and u32, little-endian), then the body. Typed verbs are on {@link connection}.
 */
export class SpiceProtocol implements Protocol {
  readonly type = 'spice'
  readonly #options: SpiceProtocolOptions
  #connection: SpiceVmConnection | undefined

  constructor(options: SpiceProtocolOptions = {}) {
    this.#options = options
  }

  /** The session with all its channels. @throws `ATP_SPICE_CLOSED` while not connected. */
  get connection(): SpiceVmConnection {
    if (!this.#connection) throw channelClosedError('a SPICE session that is not connected')
    return this.#connection
  }

  /**
   * Does nothing when connected already.
   *
   * @throws `ATP_SPICE_NO_CONSOLE` when the VM has none, `ATP_SPICE_NO_WAY` when it cannot be reached from here, what
   *   opening channels throws. Nothing is left open then.
   */
  async connect(target: ProtocolTarget, options: CallOptions = {}): Promise<void> {
    if (this.#connection) return
    const connection = await connectConsole(target, this.#options, options)
    try {
      const { main } = connection
      await connection.openChannel('inputs', options)
      if (main.channels.some(({ type }) => type === 'display')) await connection.openChannel('display', options)
    } catch (error) {
      await connection.disconnectAll()
      throw error
    }
    this.#connection = connection
  }

  async disconnect(): Promise<void> {
    const connection = this.#connection
    this.#connection = undefined
    await connection?.disconnectAll()
  }

  /** False also while the session is lost; true again once it is restored. */
  isConnected(): boolean {
    return this.#connection?.state === 'open'
  }

  /** @throws `ATP_SPICE_MESSAGE` for bytes that are no message, `ATP_SPICE_CLOSED` while the channel is not open. */
  async send(message: Uint8Array): Promise<void> {
    const inputs = this.connection.getChannel('inputs')
    if (!inputs) throw channelClosedError('the inputs channel')
    const view = new DataView(message.buffer, message.byteOffset, message.byteLength)
    const sizeBytes = message.length < HEADER_BYTES ? -1 : view.getUint32(2, true)
    if (sizeBytes !== message.length - HEADER_BYTES) throw notAMessage(message)
    await inputs.send(view.getUint16(0, true), message.subarray(HEADER_BYTES))
  }

  async receive(options?: CallOptions): Promise<Uint8Array> {
    const display = this.connection.getChannel('display')
    if (!display) throw channelClosedError('the display channel')
    const { type, body } = await display.receive(options)
    const message = new Uint8Array(HEADER_BYTES + body.length)
    const view = new DataView(message.buffer)
    view.setUint16(0, type, true)
    view.setUint32(2, body.length, true)
    message.set(body, HEADER_BYTES)
    return message
  }
}

/**
 * A session with the console that the VM's XML describes; its main channel is open.
 *
 * @throws `ATP_SPICE_NO_CONSOLE` when the VM has none, `ATP_SPICE_NO_WAY` when it cannot be reached from here, what
 *   opening the main channel throws. Nothing is left open then.
 */
export async function connectConsole(
  target: ProtocolTarget,
  { credentials, newTicketForS, ...rest }: SpiceProtocolOptions,
  options: CallOptions,
): Promise<SpiceVmConnection> {
  const server = await serverOf(target, { credentials, newTicketForS }, options)
  const connection = new SpiceVmConnection(target.name, { ...rest, server })
  try {
    await connection.connectMainChannel(options)
    return connection
  } catch (error) {
    await connection.disconnectAll()
    throw error
  }
}

export class SpiceProtocolBuilder implements ProtocolBuilder<SpiceProtocol> {
  readonly type = 'spice'
  readonly #options: SpiceProtocolOptions
  constructor(options: SpiceProtocolOptions = {}) {
    this.#options = options
  }
  build(): SpiceProtocol {
    return new SpiceProtocol(this.#options)
  }
}

async function serverOf(
  target: ProtocolTarget,
  { credentials, newTicketForS }: Pick<SpiceProtocolOptions, 'credentials' | 'newTicketForS'>,
  options: CallOptions,
): Promise<SpiceServer> {
  // Daemons show passwords only to those who may change things.
  const secure = credentials === undefined && newTicketForS === undefined
  const { graphics } = parseDomainXml(await target.xml({ ...options, secure }))
  const spice = graphics.find(({ type }) => type === 'spice')
  if (!spice) {
    throw unsupportedError('ATP_SPICE_NO_CONSOLE', `"${target.name}" has no SPICE console`, {
      context: { vm: target.name, consoles: graphics.map(({ type }) => type) },
      remedy: "add <graphics type='spice'/> to the VM",
    })
  }
  const carriers = carriersTo(target, spice)
  if (newTicketForS !== undefined) {
    const password = new Secret(`the SPICE ticket of ${target.name}`, randomTicket())
    await setTicket(target, password, { ...options, expiresInS: newTicketForS })
    return { name: target.name, ...carriers, credentials: { ...credentials, password } }
  }
  const { password } = spice
  return { name: target.name, ...carriers, credentials: credentials ?? (password ? { password } : {}) }
}

function carriersTo(
  target: ProtocolTarget,
  { socketPath, listen, port, tlsPort }: DomainGraphics,
): Pick<SpiceServer, 'open' | 'openSecured'> {
  const over = (address: ConsoleAddress): SpiceCarrier => {
    if (!target.openConsole) throw noWay(target.name, 'consoles cannot be reached this way')
    return (_, bounds) => (target.openConsole as NonNullable<ProtocolTarget['openConsole']>)(address, bounds)
  }
  if (socketPath !== undefined) return { open: over({ socketPath }) }
  if (listen === undefined) throw noWay(target.name, 'its console listens nowhere')
  const secured = tlsPort === undefined ? undefined : over({ host: listen, port: tlsPort, tls: true })
  if (port !== undefined) return { open: over({ host: listen, port, tls: false }), openSecured: secured }
  if (secured) return { open: secured }
  throw noWay(target.name, 'its console has no port; is the VM running?')
}

function randomTicket(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(TICKET_BYTES)), (byte) =>
    byte.toString(16).padStart(2, '0'),
  ).join('')
}

function noWay(vm: string, why: string): AtpError {
  return stateError('ATP_SPICE_NO_WAY', `the SPICE console of "${vm}" cannot be reached: ${why}`, {
    context: { vm },
    verdict: 'infrastructure',
  })
}

function notAMessage(message: Uint8Array): AtpError {
  return configError('ATP_SPICE_MESSAGE', `${message.length} bytes are not one message of an inputs channel`, {
    remedy: 'send type (u16), size (u32) and as many bytes, little-endian',
  })
}
