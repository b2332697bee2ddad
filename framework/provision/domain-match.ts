import type { HostInfo } from '../hosts/index.ts'
import type { Domain } from '../protocols/libvirt/index.ts'
import type { DomainVO, HostVO } from '../vdi/index.ts'

/** A libvirt domain with the host it is on. */
export interface PlacedDomain {
  domain: Domain
  platformHost: HostVO
  host: HostInfo
}

/**
 * Domains by what a VM of the platform knows them by: its id, which is their UUID, or its name, on platforms whose ids
 * are their own. More than one is nobody's to choose.
 */
export class DomainIndex<T extends PlacedDomain> {
  readonly #byId: Map<string, T[]>
  readonly #byName: Map<string, T[]>

  constructor(placed: readonly T[]) {
    this.#byId = Map.groupBy(placed, ({ domain }) => plain(domain.uuid))
    this.#byName = Map.groupBy(placed, ({ domain }) => domain.name)
  }

  /** Domains with the VM's id. */
  withId({ id }: Pick<DomainVO, 'id'>): readonly T[] {
    return this.#byId.get(plain(id)) ?? []
  }

  /** Domains with the VM's id or name. */
  matches(vm: Pick<DomainVO, 'id' | 'name'>): T[] {
    return [...new Set([...this.withId(vm), ...(this.#byName.get(vm.name) ?? [])])]
  }
}

/** `desk-1 (uuid) on host lab-1` */
export function placeText({ domain, host }: PlacedDomain): string {
  return `${domain.name} (${domain.uuid}) on host ${host.id}`
}

/** UUIDs are written with and without hyphens, in either case. */
function plain(uuid: string): string {
  return uuid.toLowerCase().replaceAll('-', '')
}
