import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { connectError, isAtpError } from '../core/index.ts'
import type { LibvirtUri } from '../protocols/libvirt/index.ts'

/** Environment variables: they decide where a session daemon's socket and the user's files are, and reach ssh. */
export type Environment = Readonly<Record<string, string | undefined>>

/** Folder of the sockets of the daemons that run as root. */
export const SYSTEM_SOCKETS = '/var/run/libvirt'

/** The socket a URI of a daemon on this machine means: the one it names, else {@link defaultSocketPath}. */
export function localSocketPath(uri: LibvirtUri, env: Environment = process.env): string {
  return uri.socketPath ?? defaultSocketPath(uri.path, env, uri.mode)
}

/**
 * Where libvirt's own clients find a local daemon.
 *
 * Hosts with modular daemons have one for QEMU with the socket `virtqemud-sock` (mode `direct`); older ones, Debian 12
 * among them, have libvirtd with `libvirt-sock` (mode `legacy`). `auto` takes the modular one if its socket is there,
 * also when both are. Which is there is looked up at each connection, so that a host may change over in between.
 *
 * Sockets of `/system` are in `/var/run/libvirt`; those of `/session` in `$XDG_RUNTIME_DIR/libvirt`, without that in
 * `$XDG_CACHE_HOME/libvirt` or `~/.cache/libvirt`.
 */
export function defaultSocketPath(
  path: LibvirtUri['path'],
  env: Environment,
  mode: LibvirtUri['mode'] = 'auto',
): string {
  const folder = path === '/system' ? SYSTEM_SOCKETS : join(sessionRuntime(env), 'libvirt')
  const direct = join(folder, 'virtqemud-sock')
  return mode === 'direct' || (mode === 'auto' && existsSync(direct)) ? direct : join(folder, 'libvirt-sock')
}

/** What can be done about a local daemon that cannot be reached; other errors are returned as they are. */
export function explainLocal(error: unknown, { path }: LibvirtUri): unknown {
  if (!isAtpError(error, 'ATP_TRANSPORT_CONNECT')) return error
  const remedy = remedyFor(error.context['errno'], path)
  if (remedy === undefined) return error
  const [message = ''] = error.message.split('\n')
  const { cause, context, retryable } = error
  return connectError('ATP_TRANSPORT_CONNECT', message, { cause, context, retryable, remedy })
}

function remedyFor(errno: unknown, path: LibvirtUri['path']): string | undefined {
  switch (errno) {
    case 'EACCES':
    case 'EPERM':
      return path === '/system'
        ? 'add this user to the group libvirt and log in again: sudo adduser "$USER" libvirt'
        : 'run as the user whose session daemon it is'
    case 'ENOENT':
    case 'ECONNREFUSED':
      return path === '/system'
        ? 'start the daemon: sudo systemctl start libvirtd (modular: virtqemud.socket)'
        : 'start the daemon, for example by: virsh -c qemu:///session list'
    default:
      return undefined
  }
}

// As GLib does, an empty variable counts as none.
function sessionRuntime(env: Environment): string {
  return env['XDG_RUNTIME_DIR'] || env['XDG_CACHE_HOME'] || join(env['HOME'] || homedir(), '.cache')
}
