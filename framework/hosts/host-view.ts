import { isAtpError } from '../core/index.ts'
import type { Domain, DomainState, LibvirtClient } from '../protocols/libvirt/index.ts'

/** A VM and what it is doing. */
export interface SeenDomain {
  domain: Domain
  state: DomainState
}

/** What a host says of its VMs now; the list of them is asked for once for all who look. */
export class HostView {
  readonly #client: LibvirtClient
  #domains: Promise<Domain[]> | undefined

  constructor(client: LibvirtClient) {
    this.#client = client
  }

  /** VMs that are not off, by UUID: the one with this UUID, or all. One that is not in here is off or gone. */
  async active(uuid: string | undefined): Promise<Map<string, SeenDomain>> {
    this.#domains ??= this.#client.listDomains()
    const running = (await this.#domains).filter((domain) => domain.id >= 0 && (!uuid || domain.uuid === uuid))
    const seen = await Promise.all(running.map((domain) => this.#look(domain)))
    return new Map(seen.flatMap((one) => (one ? [[one.domain.uuid, one]] : [])))
  }

  async #look(domain: Domain): Promise<SeenDomain | undefined> {
    try {
      const { state } = await this.#client.getState(domain)
      return state === 'shutoff' ? undefined : { domain, state }
    } catch (error) {
      if (isAtpError(error, 'ATP_LIBVIRT_NO_DOMAIN')) return undefined
      throw error
    }
  }
}
