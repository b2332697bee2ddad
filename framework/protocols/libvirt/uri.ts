import { isIPv6 } from 'node:net'
import { configError, type AtpError } from '../../core/index.ts'
import {
  decode,
  formatParameters,
  readParameters,
  type LibvirtTransport,
  type Refuse,
  type Risk,
  type UriParameters,
} from './uri-parameters.ts'

/** A libvirt connection URI of the QEMU driver, taken apart. */
export interface LibvirtUri extends UriParameters {
  transport: LibvirtTransport
  /** Which instance is wanted of the daemon; passed through on every transport. */
  path: '/session' | '/system'
  /** For ssh only. */
  user: string | undefined
  /** Name or address; an IPv6 address without its brackets. Undefined for a Unix socket. */
  host: string | undefined
  /** Undefined: {@link DEFAULT_PORT}, for ssh what its own configuration says. */
  port: number | undefined
}

/** Ports of URIs that name none. */
export const DEFAULT_PORT = { tcp: 16_509, tls: 16_514, ssh: 22 } as const

export interface ParseUriOptions {
  /** Dangerous parameters this URI may use all the same. Default none. */
  allow?: readonly Risk[]
}

const FORM = /^([a-z]+)(?:\+([a-z0-9]+))?:\/\/([^/?#]*)(\/[^?#]*)?(?:\?([^#]*))?$/
const AUTHORITY = /^(?:([^@]*)@)?([A-Za-z0-9_](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9_])?|\[[^\]]*\])(?::(\d{1,5}))?$/
// Neither can be taken for an option, nor means anything to a shell.
const USER = /^[A-Za-z0-9_][A-Za-z0-9_.@+-]*$/
/** `//user:password@`, whatever the password holds. */
const PASSWORD = /(:\/\/[^:@/[]*):(?!\d{1,5}(?:[/?#]|$)).*@/s

/**
 * Reads `qemu:///system`, `qemu:///session`, `qemu+unix:///…`, and the remote forms
 * `qemu+ssh|tcp|tls://[user@]host[:port]/system`, with IPv6 addresses in brackets and the parameters `socket`, `mode`,
 * `proxy`, `netcat`, `command`, `keyfile`, `known_hosts`, `known_hosts_verify`, `no_verify`, `no_tty` and `pkipath`
 * where their transport has them. `qemu://host/…` means TLS. Nothing is guessed or ignored.
 *
 * @throws `ATP_LIBVIRT_URI` naming what is wrong: also for parameters that weaken security or name a program to run,
 *   unless `allow` lists them.
 */
export function parseLibvirtUri(text: string, options: ParseUriOptions = {}): LibvirtUri {
  const refuse: Refuse = (message, remedy) => uriError(text, message, remedy)
  if (PASSWORD.test(text)) {
    throw refuse('a password may not be part of it', 'use a key for ssh, or sasl: { user, password } of the host')
  }
  const match = FORM.exec(text)
  if (!match) throw refuse('it is not of the form qemu[+transport]://[host]/path')
  const [, driver, named, authority = '', path = '', query = ''] = match
  if (driver !== 'qemu') throw refuse(`the driver "${driver}" is not supported`, 'only qemu is')
  const transport = transportOf(named, authority !== '', refuse)
  if (path !== '/session' && path !== '/system') {
    throw refuse(`its path is "${path}"`, 'write /session or /system')
  }
  if (transport === 'unix' && authority !== '') {
    throw refuse(`a Unix socket has no host, but it names "${authority}"`, 'write three slashes: qemu+unix:///…')
  }
  if (transport !== 'unix' && authority === '') throw refuse(`${transport} needs a host`)
  const address =
    authority === '' ? { user: undefined, host: undefined, port: undefined } : readAuthority(authority, refuse)
  if (address.user !== undefined && transport !== 'ssh') {
    throw refuse(`${transport} has no user`, 'give the user of SASL with the host: sasl: { user, password }')
  }
  return { transport, path, ...address, ...readParameters(query, { transport, path, allow: options.allow }, refuse) }
}

/** The URI in writing: what {@link parseLibvirtUri} reads from it equals `uri`. */
export function formatLibvirtUri(uri: LibvirtUri): string {
  const { transport, path, user, host, port } = uri
  const query = formatParameters(uri)
  const scheme = transport === 'unix' && query === '' ? 'qemu' : `qemu+${transport}`
  const login = user === undefined ? '' : `${encodeURIComponent(user)}@`
  const name = host === undefined ? '' : host.includes(':') ? `[${host}]` : host
  return `${scheme}://${login}${name}${port === undefined ? '' : `:${port}`}${path}${query}`
}

/**
 * The URI of a host of which only the address is known: `qemu+ssh://<address>/system`. The address may be a name, an
 * IPv4 or IPv6 address, with `user@` before and `:port` behind it.
 *
 * @throws `ATP_LIBVIRT_URI` for anything else.
 */
export function uriForHost(address: string): string {
  const text = `qemu+ssh://${isIPv6(address) ? `[${address}]` : address}/system`
  if (/[/?#]/.test(address)) throw uriError(text, `"${address}" is not [user@]host[:port]`)
  return formatLibvirtUri(parseLibvirtUri(text))
}

function transportOf(named: string | undefined, remote: boolean, refuse: Refuse): LibvirtTransport {
  switch (named) {
    case undefined:
      return remote ? 'tls' : 'unix'
    case 'unix':
    case 'ssh':
    case 'tcp':
    case 'tls':
      return named
    default:
      throw refuse(`the transport "${named}" is not known`, 'use unix, ssh, tcp or tls')
  }
}

function readAuthority(authority: string, refuse: Refuse): Pick<LibvirtUri, 'user' | 'host' | 'port'> {
  const match = AUTHORITY.exec(authority)
  if (!match) {
    const brackets = authority.split(':').length > 2 && !authority.includes('[')
    throw refuse(
      `"${authority}" is not [user@]host[:port]`,
      brackets ? 'write an IPv6 address in brackets: [::1]' : undefined,
    )
  }
  const [, login, name = '', digits] = match
  const user = login === undefined ? undefined : decode(login, refuse)
  if (user !== undefined && !USER.test(user)) throw refuse(`${JSON.stringify(user)} is not a user name`)
  const host = name.startsWith('[') ? name.slice(1, -1) : name
  if (name.startsWith('[') && (!isIPv6(host) || host.includes('%'))) throw refuse(`"${name}" is not an IPv6 address`)
  const port = digits === undefined ? undefined : Number(digits)
  if (port !== undefined && (port < 1 || port > 65_535)) throw refuse(`there is no port ${port}`)
  return { user, host, port }
}

function uriError(text: string, message: string, remedy?: string): AtpError {
  const shown = uriWithoutSecrets(text)
  return configError('ATP_LIBVIRT_URI', `${JSON.stringify(shown)} is no usable libvirt URI: ${message}`, {
    context: { uri: shown },
    remedy: remedy ?? 'write for example qemu:///system, qemu+ssh://root@host/system or qemu+tls://host/system',
  })
}

/** A URI to be shown, however wrong it is. Passwords in it are refused; what says so must not spread them. */
export function uriWithoutSecrets(text: string): string {
  return text.replace(PASSWORD, '$1:***@').replace(/([?&;][^=&;]*(?:pass|pwd|secret|token)[^=&;]*=)[^&;]*/gi, '$1***')
}
