import { configError, type AtpError } from '../../core/index.ts'

export type LibvirtTransport = 'unix' | 'ssh' | 'tcp' | 'tls'

/** A libvirt connection URI of the QEMU driver, taken apart. */
export interface LibvirtUri {
  transport: LibvirtTransport
  path: '/session' | '/system'
  user: string | undefined
  host: string | undefined
  port: number | undefined
  /** Path of the daemon's Unix socket where the URI names one. */
  socketPath: string | undefined
}

const FORM = /^([a-z]+)(?:\+([a-z0-9]+))?:\/\/([^/?#]*)(\/[^?#]*)?(?:\?([^#]*))?$/
const AUTHORITY =
  /^(?:([A-Za-z0-9_][A-Za-z0-9_.-]*)@)?([A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::(\d{1,5}))?$/

/**
 * Reads `qemu:///session`, `qemu:///system`, `qemu+unix:///session?socket=/path`, and the remote forms
 * `qemu+ssh|tcp|tls://[user@]host[:port]/system`. `qemu://host/…` means TLS. Nothing is guessed or ignored.
 *
 * @throws `ATP_LIBVIRT_URI` naming what is wrong.
 */
export function parseLibvirtUri(text: string): LibvirtUri {
  const match = FORM.exec(text)
  if (!match) throw uriError(text, 'it is not of the form qemu[+transport]://[host]/path')
  const [, driver, named, authority = '', path = '', query] = match
  if (driver !== 'qemu') throw uriError(text, `the driver "${driver}" is not supported`, 'only qemu is')
  const transport = transportOf(text, named, authority !== '')
  if (path !== '/session' && path !== '/system') {
    throw uriError(text, `its path is "${path}"`, 'write /session or /system')
  }
  if (transport === 'unix' && authority !== '') {
    throw uriError(
      text,
      `a Unix socket has no host, but it names "${authority}"`,
      'write three slashes: qemu+unix:///…',
    )
  }
  if (transport !== 'unix' && authority === '') throw uriError(text, `${transport} needs a host`)
  const { user, host, port } = readAuthority(text, authority)
  return { transport, path, user, host, port, socketPath: readSocket(text, query, transport) }
}

function transportOf(text: string, named: string | undefined, remote: boolean): LibvirtTransport {
  switch (named) {
    case undefined:
      return remote ? 'tls' : 'unix'
    case 'unix':
    case 'ssh':
    case 'tcp':
    case 'tls':
      return named
    default:
      throw uriError(text, `the transport "${named}" is not known`, 'use unix, ssh, tcp or tls')
  }
}

function readAuthority(text: string, authority: string): Pick<LibvirtUri, 'user' | 'host' | 'port'> {
  if (authority === '') return { user: undefined, host: undefined, port: undefined }
  const match = AUTHORITY.exec(authority)
  if (!match) throw uriError(text, `"${authority}" is not [user@]host[:port]`)
  const port = match[3] === undefined ? undefined : Number(match[3])
  if (port !== undefined && (port < 1 || port > 65_535)) throw uriError(text, `there is no port ${port}`)
  return { user: match[1], host: match[2], port }
}

function readSocket(text: string, query: string | undefined, transport: LibvirtTransport): string | undefined {
  let socketPath: string | undefined
  for (const pair of (query ?? '').split('&').filter(Boolean)) {
    const at = pair.indexOf('=')
    const name = at < 0 ? pair : pair.slice(0, at)
    if (name !== 'socket' || transport !== 'unix') {
      throw uriError(text, `the parameter "${name}" is not supported with ${transport}`, 'qemu+unix knows socket=/path')
    }
    if (socketPath !== undefined) throw uriError(text, 'it names two sockets')
    socketPath = decode(text, pair.slice(at + 1))
    if (at < 0 || !socketPath.startsWith('/')) throw uriError(text, 'the socket is not an absolute path')
  }
  return socketPath
}

function decode(text: string, part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    throw uriError(text, `"${part}" is not a valid percent encoding`)
  }
}

function uriError(text: string, message: string, remedy?: string): AtpError {
  return configError('ATP_LIBVIRT_URI', `${JSON.stringify(text)} is no usable libvirt URI: ${message}`, {
    context: { uri: text },
    remedy:
      remedy ?? 'write for example qemu:///session or qemu+unix:///session?socket=/run/user/1000/libvirt/libvirt-sock',
  })
}
