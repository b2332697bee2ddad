import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'

/** Where a guest is told which VM it is. */
export interface VmId {
  id: string
  /** For the log: `DMI product_serial`. */
  from: string
}

/** Ways to learn it, the most deliberate first: serials are set by administrators, UUIDs by libvirt for every VM. */
const LINUX: readonly (readonly [from: string, path: string])[] = [
  ['DMI product_serial', 'sys/class/dmi/id/product_serial'],
  ['DMI product_uuid', 'sys/class/dmi/id/product_uuid'],
  ['machine-id', 'etc/machine-id'],
]
const WINDOWS: readonly (readonly [from: string, command: string])[] = [
  ['DMI serial', '(Get-CimInstance Win32_BIOS).SerialNumber'],
  ['DMI UUID', '(Get-CimInstance Win32_ComputerSystemProduct).UUID'],
]
const POWERSHELL_TIMEOUT_MS = 20_000
/** What boards say that were never told. */
const MEANINGLESS =
  /^(not specified|none|default string|to be filled by o\.e\.m\.|system serial number|0+|uninitialized|x+)$/i

/**
 * Finds out which VM this is: DMI serial (libvirt's `<sysinfo>`), DMI UUID (the domain's UUID), Linux's machine id, host
 * name. On Linux only root may read the first two.
 *
 * @param root where a Linux guest's files are.
 */
export function detectVmId(platform: NodeJS.Platform = process.platform, root = '/', host: string = hostname()): VmId {
  const ways = platform === 'win32' ? WINDOWS : LINUX
  for (const [from, way] of ways) {
    const id = platform === 'win32' ? ask(way) : read(join(root, way))
    if (id !== undefined && !MEANINGLESS.test(id.replaceAll('-', ''))) return { id, from }
  }
  return { id: host, from: 'host name' }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim() || undefined
  } catch {
    return undefined
  }
}

function ask(command: string): string | undefined {
  try {
    const options = { encoding: 'utf8', timeout: POWERSHELL_TIMEOUT_MS, windowsHide: true } as const
    return (
      execFileSync('powershell.exe', ['-NoProfile', '-NonInteractive', '-Command', command], options).trim() ||
      undefined
    )
  } catch {
    return undefined
  }
}
