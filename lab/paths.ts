import { homedir, userInfo } from 'node:os'
import { join } from 'node:path'
import { configError } from '../framework/core/index.ts'

/** Longest path of a Unix socket on Linux: `sun_path` holds 108 bytes with its final NUL. */
const SOCKET_PATH_BYTES = 107
/** What libvirt and QEMU append to a host's folder at most: `/c/libvirt/qemu/lib/domain-99999-vm-999/spice.sock`. */
const LONGEST_SOCKET_TAIL = '/c/libvirt/qemu/lib/domain-99999-vm-999/monitor.sock'

/** Where the lab keeps things. Everything below `home` belongs to the lab and may be deleted while it is down. */
export interface LabPaths {
  home: string
  /** One folder per built guest image. */
  images: string
  /** One folder per hypervisor host: daemon configuration, sockets, logs, files of its VMs. */
  hosts: string
  /** Verdict of the KVM probe and other remembered facts. */
  facts: string
}

/**
 * Folders of the lab: `$ATP_HOME`, else `/var/lib/atp` for root (the daemons run as another user, who cannot
 * enter root's home), else `$XDG_CACHE_HOME/atp` or `~/.cache/atp`.
 *
 * @throws `ATP_LAB_PATH` when the path is relative, or so long that sockets below it cannot be made.
 */
export function labPaths(env: NodeJS.ProcessEnv = process.env, uid = userInfo().uid): LabPaths {
  const home =
    env['ATP_HOME'] || (uid === 0 ? '/var/lib/atp' : join(env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'atp'))
  if (!home.startsWith('/')) {
    throw configError('ATP_LAB_PATH', `the lab's folder "${home}" is not an absolute path`, {
      remedy: 'set ATP_HOME to an absolute path',
    })
  }
  const hosts = join(home, 'hosts')
  const longest = Buffer.byteLength(join(hosts, 'a') + LONGEST_SOCKET_TAIL)
  if (longest > SOCKET_PATH_BYTES) {
    throw configError(
      'ATP_LAB_PATH',
      `the lab's folder "${home}" is too long: sockets below it would need ${longest} bytes, Linux allows ${SOCKET_PATH_BYTES}`,
      { remedy: `set ATP_HOME to a path that is at least ${longest - SOCKET_PATH_BYTES} bytes shorter` },
    )
  }
  return {
    home,
    images: join(home, 'images'),
    hosts,
    facts: join(home, 'facts.json'),
  }
}
