import { type CallOptions, protocolError, Secret } from '../../core/index.ts'
import type { Caller } from '../caller.ts'
import { consoles, type DomainPortVO } from '../operations/consoles.ts'

/** Ports of a VM's console on its host, as far as they were recognised. */
export interface ConsolePorts {
  spice?: number
  spiceTls?: number
  vnc?: number
  /** As the platform names them. */
  all: DomainPortVO[]
}

/** Where a SPICE client connects, and with what. */
export interface SpiceAccess {
  hostIp: string
  port: number
  /** The ticket. */
  key: Secret
}

/** Consoles of VMs. */
export class ConsolesApi {
  readonly #caller: Caller

  constructor(caller: Caller) {
    this.#caller = caller
  }

  /** Console ports. Their names are not documented; they are told apart by the words spice, vnc and tls in them. */
  async ports(id: string, options?: CallOptions): Promise<ConsolePorts> {
    const all = await this.#caller.call(consoles.ports, { path: { id } }, options)
    const ports: ConsolePorts = { all }
    for (const { type, value } of all) {
      if (/tls/i.test(type)) ports.spiceTls ??= value
      else if (/spice/i.test(type)) ports.spice ??= value
      else if (/vnc/i.test(type)) ports.vnc ??= value
    }
    return ports
  }

  /**
   * Where the SPICE console is, and its ticket; see `spiceKeyForm` of the assumptions.
   *
   * @throws `ATP_VDI_ANSWER` for a port that is none
   */
  async spiceKey(id: string, options?: CallOptions): Promise<SpiceAccess> {
    const { ip, key, port } = await this.#caller.call(consoles.spiceKey, { path: { id } }, options)
    const number = Number(port)
    if (!/^\d+$/.test(port) || number < 1 || number > 65_535)
      throw protocolError('ATP_VDI_ANSWER', `consoles.spiceKey of VM ${id} answered ${JSON.stringify(port)} as port`)
    const plain = this.#caller.assumptions.spiceKeyForm === 'plain'
    const ticket = plain ? key : Buffer.from(key, 'base64').toString('utf8')
    return { hostIp: ip, port: number, key: new Secret('SPICE ticket', ticket) }
  }

  /** The VNC password. */
  async vncPassword(id: string, options?: CallOptions): Promise<Secret> {
    const { password } = await this.#caller.call(consoles.vncPassword, { path: { id }, query: {} }, options)
    return new Secret('VNC password', password)
  }

  /** The libvirt domain XML. It may hold passwords: it is not for reports. */
  xml(id: string, options?: CallOptions): Promise<string> {
    return this.#caller.call(consoles.xml, { path: { id } }, options)
  }
}
