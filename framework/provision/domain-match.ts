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
 * Domains that may be a VM of the platform: those with its id as UUID, and those with its name, which is how they are
 * told apart on platforms whose ids are their own. More than one is nobody's to choose.
 */
export function matches(vm: Pick<DomainVO, 'id' | 'name'>, placed: readonly PlacedDomain[]): PlacedDomain[] {
  const id = plain(vm.id)
  return placed.filter(({ domain }) => plain(domain.uuid) === id || domain.name === vm.name)
}

/** `desk-1 (uuid) on host lab-1` */
export function placeText({ domain, host }: PlacedDomain): string {
  return `${domain.name} (${domain.uuid}) on host ${host.id}`
}

/** UUIDs are written with and without hyphens, in either case. */
function plain(uuid: string): string {
  return uuid.toLowerCase().replaceAll('-', '')
}
