import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { configError } from '../framework/core/index.ts'
import type { GuestImage } from './image/build.ts'
import { NODE_DISK_SERIAL } from './image/guest-files.ts'
import { IDENTITY_PORT } from './image/identity-program.ts'

/** A machine the lab can make. A memory snapshot freezes the device list, so each profile has its own. */
export interface MachineProfile {
  name: string
  memoryMiB: number
  /** Input devices in the order libvirt lists them; a keyboard named first is the one authors type on. */
  inputs: readonly { type: 'keyboard' | 'mouse' | 'tablet'; bus: 'ps2' | 'usb' | 'virtio' }[]
  /** A QXL display, sound, and a SPICE console over TCP with everything that a SPICE client can open. */
  desktop?: boolean
  /** A network card that reaches this machine's loopback, and Node, for a guest verifier. */
  agent?: boolean
}

const PROFILES: readonly MachineProfile[] = [
  {
    name: 'ps2',
    memoryMiB: 128,
    inputs: [
      { type: 'keyboard', bus: 'ps2' },
      { type: 'mouse', bus: 'ps2' },
      { type: 'tablet', bus: 'virtio' },
    ],
  },
  {
    name: 'virtio',
    memoryMiB: 128,
    inputs: [
      { type: 'keyboard', bus: 'virtio' },
      { type: 'mouse', bus: 'virtio' },
      { type: 'tablet', bus: 'virtio' },
    ],
  },
  {
    name: 'usb',
    memoryMiB: 128,
    inputs: [
      { type: 'keyboard', bus: 'usb' },
      { type: 'mouse', bus: 'usb' },
      { type: 'tablet', bus: 'usb' },
    ],
  },
  {
    name: 'spice',
    memoryMiB: 160,
    inputs: [
      { type: 'keyboard', bus: 'ps2' },
      { type: 'mouse', bus: 'ps2' },
      { type: 'tablet', bus: 'virtio' },
    ],
    desktop: true,
  },
  {
    name: 'agent',
    memoryMiB: 192,
    inputs: [
      { type: 'keyboard', bus: 'ps2' },
      { type: 'mouse', bus: 'ps2' },
      { type: 'tablet', bus: 'virtio' },
    ],
    agent: true,
  },
]

/** `ps2`: a USB keyboard loses keys when typed on fast, because its guest polls it every 8 ms. */
export const DEFAULT_PROFILE = 'ps2'

export const PROFILE_NAMES: readonly string[] = PROFILES.map((profile) => profile.name)

/** @throws `ATP_LAB_PROFILE` with the known names. */
export function profileOf(name: string = DEFAULT_PROFILE): MachineProfile {
  const profile = PROFILES.find((candidate) => candidate.name === name)
  if (profile) return profile
  throw configError('ATP_LAB_PROFILE', `the lab has no machine profile "${name}"`, {
    remedy: `use one of ${PROFILE_NAMES.join(', ')}`,
  })
}

/**
 * virtio-serial ports of every profile: one per input device for its evdev records (they carry no device id),
 * one free for specs, one for the guest's clock, one for a guest verifier, one over which the lab tells the guest who
 * it is, and the guest agent's. The agent's is last:
 * the guest relies on it.
 */
export const GUEST_PORTS = [
  'atp.evdev.0',
  'atp.evdev.1',
  'atp.evdev.2',
  'atp.channel.0',
  'atp.clock.0',
  'atp.verifier.0',
  IDENTITY_PORT,
  'org.qemu.guest_agent.0',
] as const

/** Ports of a desktop that lead to its SPICE client, between those of every profile and the agent's. */
const DESKTOP_CHANNELS = [
  "<channel type='spicevmc'><target type='virtio' name='com.redhat.spice.0'/></channel>",
  ...['org.spice-space.webdav.0', 'atp.port.0'].map(
    (name) => `<channel type='spiceport'><source channel='${name}'/><target type='virtio' name='${name}'/></channel>`,
  ),
]

const DESKTOP_DEVICES = [
  "<redirdev bus='usb' type='spicevmc'/>",
  "<redirdev bus='usb' type='spicevmc'/>",
  "<smartcard mode='passthrough' type='spicevmc'/>",
  "<sound model='ac97'/>",
]

/** Files of one VM on its host. */
export interface VmFiles {
  folder: string
  serialLog: string
  /** Holds the VM's pristine state; see `state-disk.ts`. */
  stateDisk: string
}

export function vmFiles(hostFolder: string, name: string): VmFiles {
  const folder = join(hostFolder, 'v', name)
  return { folder, serialLog: join(folder, 'serial.log'), stateDisk: join(folder, 'state.qcow2') }
}

/** The host's end of a port of every profile. */
export function portSocket(files: VmFiles, port: (typeof GUEST_PORTS)[number]): string {
  return join(files.folder, String(GUEST_PORTS.indexOf(port)))
}

const KERNEL_OPTIONS = [
  'console=tty0 console=ttyS0 quiet',
  // A clock that jumps with every restore looks broken to the kernel, which would then read a slower one.
  'tsc=reliable',
  // On a busy machine the kernel's test of the timer may see no tick in time, and end in a panic.
  'no_timer_check',
  // Pages of zeros are left out of a snapshot: a quarter less to read for every clone.
  'init_on_free=1',
  // There is nobody in the guest to be protected from; what is left out is not emulated.
  'mitigations=off',
].join(' ')

/** What only a desktop's guest is told. A cursor that blinks would be a picture that never rests. */
const DESKTOP_OPTIONS = 'atp.modules=desktop vt.global_cursor_default=0'

const AGENT_OPTIONS = 'atp.modules=agent'

/**
 * QEMU's user network: nothing outside can reach the guest, and no two guests share a network, so that twins may have
 * the same address. Its disk is only read, so that all guests share the file.
 */
const agentDevices = (nodeDisk: string) => [
  `<disk type='file' device='disk'>
      <driver name='qemu' type='raw'/>
      <source file='${xmlText(nodeDisk)}'/>
      <target dev='vdz' bus='virtio'/>
      <serial>${NODE_DISK_SERIAL}</serial>
      <readonly/>
    </disk>`,
  `<interface type='user'>
      <mac address='52:54:00:61:74:70'/>
      <model type='virtio'/>
      <rom enabled='no'/>
    </interface>`,
]

const LAB_CONSOLE = "<graphics type='spice'><listen type='socket'/></graphics>"

/**
 * A SPICE console on a TCP port of the loopback that libvirt chooses. Clients choose how images are compressed; never
 * with loss, which a server would take for its own to choose when the machine is busy.
 * Positions go to the tablet, also where the guest has a SPICE agent.
 */
function desktopConsole(ticket: string): string {
  return `<graphics type='spice' autoport='yes' passwd='${xmlText(ticket)}'>
      <listen type='address' address='127.0.0.1'/>
      <image compression='auto_glz'/>
      <jpeg compression='never'/>
      <streaming mode='off'/>
      <mouse mode='server'/>
    </graphics>`
}

/** The libvirt domain of a VM that boots the guest image. */
export function domainXml(vm: {
  name: string
  uuid: string
  profile: MachineProfile
  image: GuestImage
  /** `kvm` where it works, else `qemu`: software emulation. */
  domainType: 'kvm' | 'qemu'
  files: VmFiles
  /** Virtual CPUs. Default 1. */
  cpus?: number
  /** Password of a desktop's console; clones get one of their own. Default: a new one. */
  ticket?: string
  /** Elements besides those of every lab VM; consoles among them replace the lab's. */
  more?: { devices?: readonly string[]; graphics?: readonly string[] }
}): string {
  const { profile, files, cpus = 1, ticket = newTicket(), more: { devices = [], graphics } = {} } = vm
  const { desktop = false, agent = false } = profile
  const { nodeDisk } = vm.image
  if (agent && nodeDisk === undefined) throw new Error(`profile "${profile.name}" needs the disk with Node`)
  const consoles = graphics ?? [desktop ? desktopConsole(ticket) : LAB_CONSOLE]
  const inputs = profile.inputs.map(({ type, bus }) => `${bus}-${type}`).join(',')
  const usb = desktop || profile.inputs.some((input) => input.bus === 'usb')
  const ports = GUEST_PORTS.map(
    (port) => `
    <channel type='unix'>
      <source mode='bind' path='${xmlText(portSocket(files, port))}'/>
      <target type='virtio' name='${port}'/>
    </channel>`,
  )
  if (desktop) ports.splice(-1, 0, ...DESKTOP_CHANNELS.map((channel) => `\n    ${channel}`))
  const kernelOptions = [
    KERNEL_OPTIONS,
    ...(desktop ? [DESKTOP_OPTIONS] : []),
    ...(agent ? [AGENT_OPTIONS] : []),
    `atp.inputs=${inputs}`,
  ]
  const ownDevices = [...(desktop ? DESKTOP_DEVICES : []), ...(agent && nodeDisk ? agentDevices(nodeDisk) : [])]
  const video = desktop
    ? "<model type='qxl' ram='65536' vram='16384' vgamem='16384'/>"
    : "<model type='vga' vram='16384'/>"
  return `<domain type='${vm.domainType}' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>${xmlText(vm.name)}</name>
  <uuid>${vm.uuid}</uuid>
  <memory unit='MiB'>${profile.memoryMiB}</memory>
  <vcpu>${cpus}</vcpu>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <kernel>${xmlText(vm.image.kernel)}</kernel>
    <initrd>${xmlText(vm.image.initrd)}</initrd>
    <cmdline>${kernelOptions.join(' ')}</cmdline>
  </os>
  <features><acpi/></features>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' cache='unsafe'/>
      <source file='${xmlText(files.stateDisk)}'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <controller type='usb' model='${usb ? 'qemu-xhci' : 'none'}'/>
    <controller type='virtio-serial' index='0'/>
    <serial type='pty'><log file='${xmlText(files.serialLog)}' append='off'/></serial>${ports.join('')}
    ${profile.inputs.map(({ type, bus }) => `<input type='${type}' bus='${bus}'/>`).join('\n    ')}
    ${[...consoles, ...ownDevices, ...devices].join('\n    ')}
    <audio id='1' type='${desktop ? 'spice' : 'none'}'/>
    <video>${video}</video>
    <memballoon model='none'/>
  </devices>
  <qemu:commandline>
    <qemu:arg value='-qmp'/>
    <qemu:arg value='unix:${xmlText(join(files.folder, 'qmp.sock'))},server=on,wait=off'/>
  </qemu:commandline>
</domain>
`
}

/** A password nobody can guess. */
export function newTicket(): string {
  return randomBytes(16).toString('hex')
}

/** Text for element contents and attribute values. */
export function xmlText(text: string): string {
  return text.replace(/[&<>'"]/g, (character) => `&#${character.codePointAt(0)};`)
}
