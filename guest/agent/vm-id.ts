import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'

/** Where a guest is told which VM it is. */
export interface VmId {
  id: string
  /** For the log: `DMI product_serial`. */
  from: string
}

/** Files that say it, the most deliberate first. Serials are what administrators set, UUIDs what libvirt gives every VM. */
const FILES: readonly (readonly [from: string, path: string])[] = [
  ['DMI product_serial', 'sys/class/dmi/id/product_serial'],
  ['DMI product_uuid', 'sys/class/dmi/id/product_uuid'],
  ['machine-id', 'etc/machine-id'],
]
/** What boards say that were never told. */
const MEANINGLESS =
  /^(not specified|none|default string|to be filled by o\.e\.m\.|system serial number|0+|uninitialized|x+)$/i

/**
 * Finds out which VM this is: DMI serial (libvirt's `<sysinfo>`), DMI UUID (the domain's UUID), machine id, host name.
 * Only root may read the first two.
 *
 * @param root where the guest's files are.
 */
export function detectVmId(root = '/', host: string = hostname()): VmId {
  for (const [from, path] of FILES) {
    const id = read(join(root, path))
    if (id !== undefined && !MEANINGLESS.test(id.replaceAll('-', ''))) return { id, from }
  }
  return { id: host, from: 'host name' }
}

function read(path: string): string | undefined {
  try {
    const text = readFileSync(path, 'utf8').trim()
    return text === '' ? undefined : text
  } catch {
    return undefined
  }
}
