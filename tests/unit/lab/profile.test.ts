import { describe, expect, it } from 'vitest'
import { parseDomainXml } from '../../../framework/protocols/libvirt/index.ts'
import { domainXml, GUEST_PORTS, PROFILE_NAMES, profileOf, vmFiles } from '../../../lab/profile.ts'

const image = { id: 'i', kernel: "/a&b/<vm>'linuz", initrd: '/i', packages: [], nodeDisk: '/n&ode' }
const describeVm = (name: string) =>
  domainXml({
    name: 'vm-001',
    uuid: 'e496b897-3b5e-41fb-a93d-023cf4d55a14',
    profile: profileOf(name),
    image,
    domainType: 'qemu',
    files: vmFiles("/h'1", 'vm-001'),
  })

describe('machine profiles', () => {
  it.each(PROFILE_NAMES)('%s is a domain with its inputs first to last and all ports', (name) => {
    const xml = parseDomainXml(describeVm(name))
    expect(xml).toMatchObject({ name: 'vm-001', uuid: 'e496b897-3b5e-41fb-a93d-023cf4d55a14', type: 'qemu' })
    expect(xml.inputs).toEqual(profileOf(name).inputs)
    const ports = xml.channels.filter((channel) => channel.type === 'unix')
    expect(ports.map((channel) => channel.name)).toEqual([...GUEST_PORTS])
    expect(ports.map((channel) => channel.sourcePath)).toEqual(GUEST_PORTS.map((_, index) => `/h'1/v/vm-001/${index}`))
    expect(xml.channels.at(-1)?.name).toBe('org.qemu.guest_agent.0')
  })

  it('has a desktop whose console asks for a password of its own', () => {
    const passwords = [1, 2].map(() => /passwd='([^']+)'/.exec(describeVm('spice'))?.[1])
    expect(passwords[0]).toMatch(/^[0-9a-f]{32}$/)
    expect(passwords[0]).not.toBe(passwords[1])
    expect(parseDomainXml(describeVm('spice')).channels.map((channel) => channel.name)).toEqual(
      expect.arrayContaining(['com.redhat.spice.0', 'org.spice-space.webdav.0', 'atp.port.0']),
    )
  })

  it('has a guest for a verifier, with a network and a disk that is only read; no other has either', () => {
    const [agent, ...others] = ['agent', 'ps2', 'virtio', 'usb', 'spice'].map(describeVm)
    expect(agent).toMatch(/<source file='\/n&#38;ode'\/>\s*<target dev='vdz' bus='virtio'\/>[^]*?<readonly\/>/)
    expect(agent).toContain("<interface type='user'>")
    for (const other of others) expect(other).not.toMatch(/<interface|<readonly/)
    const bare = { ...image, nodeDisk: undefined } as unknown as typeof image
    const vm = { name: 'a', uuid: '', domainType: 'qemu', files: vmFiles('/h', 'a') } as const
    expect(() => domainXml({ ...vm, profile: profileOf('agent'), image: bare })).toThrow('needs the disk with Node')
  })

  it('has a keyboard that loses nothing by default', () => {
    expect(profileOf().inputs[0]).toEqual({ type: 'keyboard', bus: 'ps2' })
  })

  it('refuses an unknown one and names those there are', () => {
    expect(() => profileOf('vista')).toThrow(/"vista"[\s\S]*ps2, virtio, usb/)
  })

  it('keeps the agent’s port last: the guest waits for it and then takes all ports as known', () => {
    expect(GUEST_PORTS.at(-1)).toBe('org.qemu.guest_agent.0')
  })
})
