import { configError, type AtpError } from '../../core/errors.ts'

/** Where a SPICE server listens. */
export type SpiceAddress =
  | {
      kind: 'tcp'
      /** Name or address; an IPv6 address without its brackets. */
      host: string
      /** The plain port, the TLS port; at least one of them. */
      port?: number
      tlsPort?: number
    }
  | { kind: 'unix'; path: string }
  /** `ws://` or `wss://`, straight to the server or to a proxy. */
  | { kind: 'websocket'; url: string }

const FORM = /^(spice(?:\+tls|\+unix)?|wss?):\/\/([^/?#]*)(\/[^?#]*)?(?:\?([^#]*))?$/
const AUTHORITY = /^([A-Za-z0-9_](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]{2,45}\])(?::(\d{1,5}))?$/

/**
 * Reads `spice://host:port`, `spice://host:port?tls-port=…`, `spice+tls://host:port`, `spice+unix:///path`, `ws://…`
 * and `wss://…`. Nothing is guessed or ignored.
 *
 * @throws `ATP_SPICE_URI` naming what is wrong; never shows a password.
 */
export function parseSpiceUri(text: string): SpiceAddress {
  const refuse = (message: string, remedy?: string) => uriError(text, message, remedy)
  if (/:\/\/[^/]*@/.test(text) || /[?&]password=/.test(text)) {
    throw refuse('a user or password may not be part of it', 'give the password apart')
  }
  const match = FORM.exec(text)
  if (!match) throw refuse('it is not of the form spice[+tls]://host:port')
  const [, scheme = '', authority = '', path = '', query] = match
  if (scheme === 'ws' || scheme === 'wss') {
    if (!AUTHORITY.test(authority)) throw refuse(`"${authority}" is no host`)
    return { kind: 'websocket', url: text }
  }
  if (scheme === 'spice+unix') {
    if (authority !== '' || path.length < 2 || query !== undefined) throw refuse('it is not spice+unix:///path')
    return { kind: 'unix', path: decoded(path, refuse) }
  }
  if (path !== '' && path !== '/') throw refuse('a server has no path')
  const [, bracketed = '', portText] = AUTHORITY.exec(authority) ?? []
  if (bracketed === '') throw refuse(`"${authority}" is no host with a port`)
  const host = bracketed.replace(/^\[|\]$/g, '')
  const port = portText === undefined ? undefined : portOf(portText, refuse)
  if (scheme === 'spice+tls') {
    if (query !== undefined) throw refuse('it has no parameters')
    if (port === undefined) throw refuse('the port is missing')
    return { kind: 'tcp', host, tlsPort: port }
  }
  const tlsPort = query === undefined ? undefined : tlsPortOf(query, refuse)
  if (port === undefined && tlsPort === undefined) throw refuse('the port is missing')
  return { kind: 'tcp', host, ...(port !== undefined && { port }), ...(tlsPort !== undefined && { tlsPort }) }
}

type Refuse = (message: string, remedy?: string) => AtpError

function tlsPortOf(query: string, refuse: Refuse): number {
  const match = /^tls-port=(\d{1,5})$/.exec(query)
  if (!match) throw refuse('the only parameter is tls-port')
  return portOf(match[1] as string, refuse)
}

function portOf(text: string, refuse: Refuse): number {
  const port = Number(text)
  if (port < 1 || port > 65_535) throw refuse(`${text} is no port`)
  return port
}

function decoded(path: string, refuse: Refuse): string {
  try {
    return decodeURIComponent(path)
  } catch {
    throw refuse('its path holds a stray %')
  }
}

function uriError(
  text: string,
  message: string,
  remedy = 'write spice://host:5900 or spice+tls://host:5901',
): AtpError {
  const shown = text.replace(/:\/\/[^/]*@/, '://•••@').replace(/([?&]password=)[^&]*/g, '$1•••')
  return configError('ATP_SPICE_URI', `"${shown}" is not a SPICE address: ${message}`, { remedy })
}
