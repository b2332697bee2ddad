import { noChannelError } from './errors.ts'

/** A `<channel>` of the domain XML, as the XML module parses it. */
export interface ParsedChannel {
  name: string | undefined
  /** `target`'s type: only `virtio` ones are virtio-serial ports. */
  targetType: string | undefined
  state?: string | undefined
  sourcePath?: string | undefined
}

/** A virtio-serial port of a VM. */
export interface VirtioSerialPort {
  name: string
  /** Device in a Linux guest. */
  guestPath: string
  /** Host end where the domain binds it to a socket or pty. */
  hostPath: string | undefined
  /** Whether a program in the guest has it open; undefined where libvirt does not know. */
  connected: boolean | undefined
}

/** Guest path of a port, as udev and the lab's guest name it. Windows calls it `\\.\<name>`. */
export function guestPortPath(name: string): string {
  return `/dev/virtio-ports/${name}`
}

/** The virtio-serial ports among a domain's channels, in their order. */
export function virtioSerialPorts(channels: readonly ParsedChannel[]): VirtioSerialPort[] {
  return channels.flatMap(({ name, targetType, state, sourcePath }) =>
    targetType === 'virtio' && name
      ? [
          {
            name,
            guestPath: guestPortPath(name),
            hostPath: sourcePath,
            connected: state === undefined ? undefined : state === 'connected',
          },
        ]
      : [],
  )
}

/** @throws `ATP_VIRTIO_SERIAL_NO_CHANNEL` with the names there are. */
export function findPort(vm: string, ports: readonly VirtioSerialPort[], name: string): VirtioSerialPort {
  const port = ports.find((each) => each.name === name)
  if (port) return port
  const known = ports.map((each) => each.name)
  throw noChannelError(vm, name, known)
}
