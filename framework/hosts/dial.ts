import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { unsupportedError, type CallOptions } from '../core/index.ts'
import type { LibvirtUri } from '../protocols/libvirt/index.ts'
import { connectUnix } from '../transport/index.ts'
import type { ByteStream } from '../wire/index.ts'

/** Environment variables that decide where a session daemon's socket is. */
export type Environment = Readonly<Record<string, string | undefined>>

/**
 * Connects to the daemon a URI names.
 *
 * @throws `ATP_LIBVIRT_TRANSPORT_UNSUPPORTED` for transports other than Unix sockets, else as `connectUnix`.
 */
export async function dial(
  uri: LibvirtUri,
  options: CallOptions = {},
  env: Environment = process.env,
): Promise<ByteStream> {
  if (uri.transport !== 'unix') {
    throw unsupportedError(
      'ATP_LIBVIRT_TRANSPORT_UNSUPPORTED',
      `libvirt over ${uri.transport} (${uri.host}) is not supported`,
      {
        remedy: 'use the Unix socket of a daemon on this machine, or a forwarded one: qemu+unix:///system?socket=/path',
      },
    )
  }
  return connectUnix(uri.socketPath ?? defaultSocketPath(uri.path, env), options)
}

/** Where libvirt's own clients find a local daemon: the modular one if it is there, else libvirtd. */
export function defaultSocketPath(path: LibvirtUri['path'], env: Environment): string {
  const folder = path === '/system' ? '/var/run/libvirt' : join(sessionRuntime(env), 'libvirt')
  const modular = join(folder, 'virtqemud-sock')
  return existsSync(modular) ? modular : join(folder, 'libvirt-sock')
}

function sessionRuntime(env: Environment): string {
  return env['XDG_RUNTIME_DIR'] ?? env['XDG_CACHE_HOME'] ?? join(env['HOME'] ?? homedir(), '.cache')
}
