import { attribute, child, children, descend, parseXml, textOf } from './xml-document.ts'

/** What a host can run (`virsh capabilities`). */
export interface HostCapabilities {
  /** Architecture of the host's processor. */
  arch: string | undefined
  guests: { arch: string; emulator: string | undefined; kvm: boolean }[]
}

/** @throws `ATP_LIBVIRT_XML` for text that is not well-formed. */
export function parseCapabilities(xml: string): HostCapabilities {
  const root = parseXml(xml).documentElement
  const cpu = descend(root ?? undefined, 'host', 'cpu')
  return {
    arch: cpu && textOf(child(cpu, 'arch')),
    guests: (root ? children(root, 'guest') : []).flatMap((guest) => {
      const arch = child(guest, 'arch')
      if (!arch) return []
      return {
        arch: attribute(arch, 'name') ?? '',
        emulator: textOf(child(arch, 'emulator')),
        kvm: children(arch, 'domain').some((domain) => attribute(domain, 'type') === 'kvm'),
      }
    }),
  }
}
