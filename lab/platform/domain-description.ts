import { DOMParser, onWarningStopParsing, XMLSerializer } from '@xmldom/xmldom'
import { createServer, type AddressInfo } from 'node:net'
import { domainXml, xmlText, type VmFiles } from '../profile.ts'
import type { SnapshotSource } from '../snapshot.ts'
import type { WorldVm } from './world.ts'

/** Where the consoles of a running VM listen, and what they ask for. */
export interface Consoles {
  ip: string
  spicePort: number
  vncPort: number
  password: string
}

/** SPICE and VNC over TCP; without ports of their own libvirt chooses some when the VM starts. */
export function graphicsOf(ip: string, consoles?: Consoles): string[] {
  return (['spice', 'vnc'] as const).map((type) => {
    const port = consoles && (type === 'spice' ? consoles.spicePort : consoles.vncPort)
    const where = consoles ? `port='${port}' passwd='${xmlText(consoles.password)}'` : "autoport='yes'"
    return `<graphics type='${type}' ${where}><listen type='address' address='${xmlText(ip)}'/></graphics>`
  })
}

/** Another domain with these consoles instead of its own. They are no part of a machine's saved state. */
export function withGraphics(xml: string, graphics: readonly string[]): string {
  const parser = new DOMParser({ onError: onWarningStopParsing })
  const document = parser.parseFromString(xml, 'text/xml')
  const devices = document.getElementsByTagName('devices')[0]
  for (const old of Array.from(document.getElementsByTagName('graphics'))) old.parentNode?.removeChild(old)
  for (const one of graphics) {
    const element = parser.parseFromString(one, 'text/xml').documentElement
    if (element) devices?.appendChild(document.importNode(element, true))
  }
  return new XMLSerializer().serializeToString(document)
}

/** The domain of a VM that boots instead of being restored: also what libvirt keeps of it while it is off. */
export function bootXml(
  vm: WorldVm,
  { source, files, graphics }: { source: SnapshotSource; files: VmFiles; graphics: readonly string[] },
): string {
  const disks = vm.disks.map(({ id }, index) => {
    const target = `vd${String.fromCharCode('b'.charCodeAt(0) + index)}`
    const driver = "<driver name='qemu' type='raw' cache='unsafe'/>"
    const path = xmlText(diskFile(files, id))
    return `<disk type='file' device='disk'>${driver}<source file='${path}'/><target dev='${target}' bus='virtio'/></disk>`
  })
  const serials = Array.from({ length: vm.serialPorts }, () => "<serial type='pty'/>")
  return domainXml({
    name: vm.name,
    uuid: vm.id,
    profile: { ...source.profile, memoryMiB: vm.memoryMiB },
    image: source.image,
    domainType: source.domainType,
    files,
    cpus: vm.cpus,
    more: { graphics, devices: [...disks, ...serials] },
  })
}

export const diskFile = (files: VmFiles, id: string) => `${files.folder}/${id}.raw`

/** Whether the machine is the one whose memory was kept: only then it can be restored from that. */
export function fitsSnapshot(vm: WorldVm, { profile }: SnapshotSource): boolean {
  return vm.memoryMiB === profile.memoryMiB && vm.cpus === 1 && vm.disks.length === 0 && vm.serialPorts === 0
}

/**
 * A port nobody listens on. libvirt's own choice is not used: each daemon counts from 5900, and two that start VMs at
 * the same time choose the same.
 */
export function freePort(ip: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen({ host: ip, port: 0 }, () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })
}
