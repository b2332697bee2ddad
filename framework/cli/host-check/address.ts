import { execFile } from 'node:child_process'
import { accessSync, constants, readFileSync, statSync } from 'node:fs'
import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { userInfo } from 'node:os'
import { promisify } from 'node:util'
import { withDeadline, type CallOptions } from '../../core/index.ts'
import { localSocketPath } from '../../hosts/index.ts'
import { DEFAULT_PORT, type LibvirtUri } from '../../protocols/libvirt/index.ts'
import type { Finding } from '../finding.ts'
import { explain } from './explain.ts'

/** Where a host is, as far as this machine can tell without connecting. */
export interface Address {
  /** Undefined where only the connection can tell. */
  finding: Finding | undefined
  /** Name or address under which other ports of the host are reached from here. */
  host: string
}

const LOOKUP_TIMEOUT_MS = 5_000

/** Looks at what must be there before a connection can be tried: right to the socket, name, ssh. */
export async function examineAddress(uri: LibvirtUri, bounds: CallOptions): Promise<Address> {
  if (uri.transport === 'unix') return { finding: examineSocket(localSocketPath(uri)), host: 'localhost' }
  const options = { timeoutMs: LOOKUP_TIMEOUT_MS, signal: bounds.signal }
  return uri.transport === 'ssh' ? examineSsh(uri, options) : examineName(uri, options)
}

/** A socket that is there and must not be opened: its group tells who may. */
function examineSocket(path: string): Finding | undefined {
  try {
    accessSync(path, constants.R_OK | constants.W_OK)
    return undefined
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EACCES') return undefined
    const { username } = userInfo()
    const group = groupOf(path)
    return {
      state: 'bad',
      what: 'socket',
      detail: `${path}: the user "${username}" may not open it`,
      remedy: group
        ? `add the user to its group and log in anew: sudo usermod -aG ${group} ${username}`
        : 'run as the user whose daemon it is, or as one who may enter its folder',
    }
  }
}

/** The group that may open a socket; undefined where it may not, or where its folder cannot be entered. */
function groupOf(path: string): string | undefined {
  try {
    const { gid, mode } = statSync(path)
    // Root's group is not one to put users into.
    if ((mode & 0o060) !== 0o060 || gid === 0) return undefined
    const line = readFileSync('/etc/group', 'utf8')
      .split('\n')
      .find((entry) => entry.split(':')[2] === String(gid))
    return line?.split(':')[0]
  } catch {
    return undefined
  }
}

async function examineName(uri: LibvirtUri, bounds: CallOptions): Promise<Address> {
  const { host = '', transport } = uri
  const port = uri.port ?? DEFAULT_PORT[transport as 'tcp' | 'tls']
  const what = 'address'
  if (isIP(host)) return { host, finding: { state: 'ok', what, detail: `${host} port ${port}` } }
  try {
    const found = await withDeadline(`looking up ${host}`, bounds, () => lookup(host, { all: true }))
    const detail = `${host} port ${port} is ${found.map(({ address }) => address).join(', ')}`
    return { host, finding: { state: 'ok', what, detail } }
  } catch (error) {
    const finding = explain(what, error, uri)
    return { host, finding: { ...finding, detail: `the name "${host}" cannot be looked up: ${finding.detail}` } }
  }
}

/** What ssh's own configuration makes of the host: aliases, ports, users and jump hosts count. */
async function examineSsh(uri: LibvirtUri, bounds: CallOptions): Promise<Address> {
  const { host = '', user, port, command = 'ssh' } = uri
  const args = ['-G', ...(port ? ['-p', String(port)] : []), ...(user ? ['-l', user] : []), '--', host]
  const what = 'ssh'
  let settings: Map<string, string>
  try {
    const { stdout } = await promisify(execFile)(command, args, {
      timeout: bounds.timeoutMs,
      ...(bounds.signal && { signal: bounds.signal }),
    })
    settings = new Map(
      stdout.split('\n').map((line) => [line.slice(0, line.indexOf(' ')), line.slice(line.indexOf(' ') + 1)]),
    )
  } catch (error) {
    const { code, stderr } = error as { code?: unknown; stderr?: string }
    const missing = code === 'ENOENT'
    return {
      host,
      finding: {
        state: 'bad',
        what,
        detail: missing ? `the program "${command}" is not installed here` : `ssh refuses its settings: ${stderr}`,
        remedy: missing ? 'install openssh-client' : `try by hand: ssh -G ${host}`,
      },
    }
  }
  const real = settings.get('hostname') ?? host
  const jump = settings.get('proxyjump') ?? settings.get('proxycommand')
  const detail = `${settings.get('user')}@${real} port ${settings.get('port')}${jump ? ` through ${jump}` : ''}`
  return { host: real, finding: { state: 'ok', what, detail } }
}
