import type { Element } from '@xmldom/xmldom'
import { Secret } from '../../core/index.ts'
import {
  attribute,
  child,
  children,
  descend,
  domainElement,
  wholeNumber,
  parseXml,
  required,
  textOf,
} from './xml-document.ts'

const QEMU_NAMESPACE = 'http://libvirt.org/schemas/domain/qemu/1.0'

/** What the framework needs to know of a domain's XML. */
export interface DomainXml {
  name: string
  /** Missing in XML that was not yet given to libvirt. */
  uuid: string | undefined
  /** `kvm` or `qemu`: hardware virtualisation or software emulation. */
  type: string
  emulator: string | undefined
  os: { type: string; arch: string | undefined; machine: string | undefined }
  channels: DomainChannel[]
  /** In the order of the XML. */
  inputs: DomainInput[]
  graphics: DomainGraphics[]
  /** The first video card's preferred resolution, when the XML names one. */
  resolution: { width: number; height: number } | undefined
  /** Unix sockets of QMP monitors that the XML adds to QEMU's command line, in order. */
  qmpSocketPaths: string[]
  /** File on the host that keeps what the first serial port prints. */
  serialLogPath: string | undefined
}

export interface DomainChannel {
  /** How the host side is connected: `unix`, `spicevmc`, `pty` … */
  type: string
  /** Kind of port in the guest: `virtio`, `guestfwd` … */
  targetType: string
  name: string | undefined
  /** Whether a program in the guest has the port open; undefined while the domain does not run. */
  state: 'connected' | 'disconnected' | undefined
  sourcePath: string | undefined
}

export interface DomainInput {
  /** `keyboard`, `mouse`, `tablet` … */
  type: string
  /** `ps2`, `usb`, `virtio` … */
  bus: string | undefined
}

export interface DomainGraphics {
  /** `spice`, `vnc` … */
  type: string
  port: number | undefined
  tlsPort: number | undefined
  listen: string | undefined
  socketPath: string | undefined
  /** Only in XML that was asked for with its secrets. */
  password: Secret | undefined
}

/** @throws `ATP_LIBVIRT_XML` for text that is not well-formed or is no domain. */
export function parseDomainXml(text: string): DomainXml {
  const root = domainElement(parseXml(text))
  const os = child(root, 'os')
  const osType = os && child(os, 'type')
  const devices = child(root, 'devices')
  const list = (tag: string) => (devices ? children(devices, tag) : [])
  const video = list('video')[0]
  const resolution = descend(video, 'model', 'resolution')
  return {
    name: required(textOf(child(root, 'name')), 'name'),
    uuid: textOf(child(root, 'uuid')),
    type: required(attribute(root, 'type'), 'type'),
    emulator: devices && textOf(child(devices, 'emulator')),
    os: {
      type: textOf(osType) ?? '',
      arch: osType && attribute(osType, 'arch'),
      machine: osType && attribute(osType, 'machine'),
    },
    channels: list('channel').map(readChannel),
    inputs: list('input').map((input) => ({
      type: required(attribute(input, 'type'), 'input type'),
      bus: attribute(input, 'bus'),
    })),
    graphics: list('graphics').map(readGraphics),
    resolution: resolution && {
      width: required(wholeNumber(resolution, 'x'), 'resolution x'),
      height: required(wholeNumber(resolution, 'y'), 'resolution y'),
    },
    qmpSocketPaths: qmpSocketPaths(root),
    serialLogPath: attribute(descend(list('serial')[0], 'log'), 'file'),
  }
}

function readChannel(element: Element): DomainChannel {
  const target = child(element, 'target')
  const state = attribute(target, 'state')
  return {
    type: required(attribute(element, 'type'), 'channel type'),
    targetType: required(attribute(target, 'type'), 'channel target type'),
    name: attribute(target, 'name'),
    state: state === 'connected' || state === 'disconnected' ? state : undefined,
    sourcePath: attribute(child(element, 'source'), 'path'),
  }
}

function readGraphics(element: Element): DomainGraphics {
  const port = (name: string) => {
    const value = wholeNumber(element, name)
    // −1 stands for a port that is chosen at start.
    return value === undefined || value < 0 ? undefined : value
  }
  const listen = child(element, 'listen')
  const password = attribute(element, 'passwd')
  return {
    type: required(attribute(element, 'type'), 'graphics type'),
    port: port('port'),
    tlsPort: port('tlsPort'),
    listen: attribute(element, 'listen') ?? attribute(listen, 'address'),
    socketPath: attribute(element, 'socket') ?? attribute(listen, 'socket'),
    password: password === undefined ? undefined : new Secret('the password of a console', password),
  }
}

/** Monitors come as `-qmp unix:…`, or as a `-chardev` named by a `-mon` in control mode. */
function qmpSocketPaths(root: Element): string[] {
  const commandline = children(root, 'commandline', QEMU_NAMESPACE)[0]
  if (!commandline) return []
  const args = children(commandline, 'arg', QEMU_NAMESPACE).map((arg) => attribute(arg, 'value') ?? '')
  const paths: string[] = []
  const chardevs = new Map<string, string>()
  args.forEach((option, at) => {
    const { first, values } = qemuOptions(args[at + 1] ?? '')
    if (option === '-qmp' && first.startsWith('unix:')) paths.push(first.slice('unix:'.length))
    const id = values.get('id')
    const path = values.get('path')
    if (option === '-chardev' && first === 'socket' && id !== undefined && path !== undefined) chardevs.set(id, path)
  })
  args.forEach((option, at) => {
    if (option !== '-mon') return
    const { first, values } = qemuOptions(args[at + 1] ?? '')
    const path = chardevs.get(values.get('chardev') ?? first)
    if (path !== undefined && values.get('mode') === 'control') paths.push(path)
  })
  return paths
}

/** QEMU's `first,key=value,…` form, in which a doubled comma stands for one. */
function qemuOptions(text: string): { first: string; values: Map<string, string> } {
  const parts = (text.match(/(?:[^,]|,,)+/g) ?? []).map((part) => part.replaceAll(',,', ','))
  const values = new Map<string, string>()
  for (const part of parts) {
    const at = part.indexOf('=')
    if (at > 0) values.set(part.slice(0, at), part.slice(at + 1))
  }
  return { first: parts[0] ?? '', values }
}
