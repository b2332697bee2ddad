import { nearest, type AtpError } from '../../core/index.ts'

export type LibvirtTransport = 'unix' | 'ssh' | 'tcp' | 'tls'

/** Parameters that weaken security or name a program to run: refused unless allowed for the host. */
export const RISKS = ['no_verify', 'netcat', 'command'] as const
export type Risk = (typeof RISKS)[number]

/** What the parameters of a URI say, defaults filled in. */
export interface UriParameters {
  /** `socket`: the daemon's Unix socket, here or, with ssh, on the host. */
  socketPath: string | undefined
  /** Which daemon: `direct` virtqemud, `legacy` libvirtd, `auto` the one that is there. */
  mode: 'auto' | 'legacy' | 'direct'
  /** What connects to the socket at the far end of ssh: `native` virt-ssh-helper, `auto` that or else netcat. */
  proxy: 'auto' | 'native' | 'netcat'
  /** The netcat to run on the host. A {@link Risk}. */
  netcat: string | undefined
  /** The ssh to run here. A {@link Risk}. */
  command: string | undefined
  /** Private key for ssh. */
  keyfile: string | undefined
  /** `known_hosts`: file of the host keys that ssh trusts. */
  knownHosts: string | undefined
  /**
   * `known_hosts_verify`: `normal` only known keys, `auto` also the key of a host seen for the first time, `ignore` any
   * (counts as `no_verify`). Undefined: as ssh's own configuration says.
   */
  knownHostsVerify: 'normal' | 'auto' | 'ignore' | undefined
  /** Do not check who answers. A {@link Risk}. */
  noVerify: boolean
  /** Folder of `cacert.pem`, `clientcert.pem` and `clientkey.pem`. */
  pkipath: string | undefined
}

/** Makes the error for one reason. */
export type Refuse = (message: string, remedy?: string) => AtpError

interface Parameter {
  of: readonly LibvirtTransport[]
  risk?: Risk
  read(value: string, at: { name: string; transport: LibvirtTransport; refuse: Refuse }): Partial<UriParameters>
}

const DEFAULTS: UriParameters = {
  socketPath: undefined,
  mode: 'auto',
  proxy: 'auto',
  netcat: undefined,
  command: undefined,
  keyfile: undefined,
  knownHosts: undefined,
  knownHostsVerify: undefined,
  noVerify: false,
  pkipath: undefined,
}

const PARAMETERS: Record<string, Parameter> = {
  socket: {
    of: ['unix', 'ssh'],
    read: (value, at) => ({ socketPath: at.transport === 'ssh' ? plainPath(value, at) : path(value, at) }),
  },
  mode: { of: ['unix', 'ssh'], read: (value, at) => ({ mode: oneOf(['auto', 'legacy', 'direct'], value, at) }) },
  proxy: { of: ['ssh'], read: (value, at) => ({ proxy: oneOf(['auto', 'native', 'netcat'], value, at) }) },
  netcat: { of: ['ssh'], risk: 'netcat', read: (value, at) => ({ netcat: program(value, at) }) },
  command: { of: ['ssh'], risk: 'command', read: (value, at) => ({ command: program(value, at) }) },
  keyfile: { of: ['ssh'], read: (value, at) => ({ keyfile: plainPath(value, at) }) },
  known_hosts: { of: ['ssh'], read: (value, at) => ({ knownHosts: plainPath(value, at) }) },
  known_hosts_verify: {
    of: ['ssh'],
    read: (value, at) => ({ knownHostsVerify: oneOf(['normal', 'auto', 'ignore'], value, at) }),
  },
  no_verify: { of: ['ssh', 'tls'], read: (value, at) => ({ noVerify: oneOf(['0', '1'], value, at) === '1' }) },
  no_tty: {
    of: ['ssh'],
    read: (value, { refuse }) => {
      if (value !== '1') throw refuse('ssh never asks anybody here, so no_tty cannot be switched off', 'leave it out')
      return {}
    },
  },
  sshauth: {
    of: ['ssh'],
    read: (_, { refuse }) => {
      throw refuse('sshauth belongs to libvirt’s built-in ssh', 'set PreferredAuthentications in ~/.ssh/config')
    },
  },
  pkipath: { of: ['tls'], read: (value, at) => ({ pkipath: path(value, at) }) },
  tls_priority: {
    of: ['tls'],
    read: (_, { refuse }) => {
      throw refuse(
        'tls_priority is in the language of GnuTLS, which is not used here',
        'leave it out: TLS 1.2 or later',
      )
    },
  },
}

/**
 * Reads the part of a URI behind `?`.
 *
 * @throws what `refuse` makes: for unknown, repeated and contradicting parameters, for those of other transports, for
 *   values that are not what they must be, and for risks that `allow` does not list.
 */
export function readParameters(
  query: string,
  uri: { transport: LibvirtTransport; path: string; allow?: readonly Risk[] },
  refuse: Refuse,
): UriParameters {
  const { transport, allow = [] } = uri
  const seen = new Set<string>()
  let result = { ...DEFAULTS }
  for (const pair of query.split('&').filter(Boolean)) {
    const equals = pair.indexOf('=')
    const name = equals < 0 ? pair : pair.slice(0, equals)
    const parameter = Object.hasOwn(PARAMETERS, name) ? (PARAMETERS[name] as Parameter) : undefined
    if (!parameter) throw unknown(name, transport, refuse)
    if (!parameter.of.includes(transport)) {
      throw refuse(`the parameter "${name}" is not one of ${transport}`, `it belongs to ${parameter.of.join(' and ')}`)
    }
    if (seen.has(name)) throw refuse(`it gives "${name}" twice`)
    seen.add(name)
    const value = equals < 0 ? '' : decode(pair.slice(equals + 1), refuse)
    if (value === '') throw refuse(`the parameter "${name}" has no value`)
    if (parameter.risk && !allow.includes(parameter.risk)) throw risky(parameter.risk, refuse)
    result = { ...result, ...parameter.read(value, { name, transport, refuse }) }
  }
  if ((result.noVerify || result.knownHostsVerify === 'ignore') && !allow.includes('no_verify')) {
    throw risky('no_verify', refuse)
  }
  checkTogether(result, uri, refuse)
  return result
}

/** The parameters in writing, with their `?`; empty when all are the defaults. */
export function formatParameters(uri: UriParameters): string {
  const { mode, proxy } = uri
  const given: [string, string | undefined][] = [
    ['socket', uri.socketPath],
    ['mode', mode === 'auto' ? undefined : mode],
    ['proxy', proxy === 'auto' ? undefined : proxy],
    ['netcat', uri.netcat],
    ['command', uri.command],
    ['keyfile', uri.keyfile],
    ['known_hosts', uri.knownHosts],
    ['known_hosts_verify', uri.knownHostsVerify],
    ['no_verify', uri.noVerify ? '1' : undefined],
    ['pkipath', uri.pkipath],
  ]
  const pairs = given.flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${encode(value)}`]))
  return pairs.length === 0 ? '' : `?${pairs.join('&')}`
}

/** Percent encoding undone. Control characters are never meant, and end messages, paths and command lines early. */
export function decode(part: string, refuse: Refuse): string {
  let text: string
  try {
    text = decodeURIComponent(part)
  } catch {
    throw refuse(`"${part}" is not a valid percent encoding`)
  }
  if (/\p{Cc}/u.test(text) || !text.isWellFormed()) {
    throw refuse(`${JSON.stringify(text)} holds characters that cannot be meant`)
  }
  return text
}

function encode(value: string): string {
  return encodeURIComponent(value).replaceAll('%2F', '/')
}

/** What cannot go together, instead of one silently winning. */
function checkTogether(
  { socketPath, mode, proxy, netcat, noVerify, knownHostsVerify }: UriParameters,
  { transport, path }: { transport: LibvirtTransport; path: string },
  refuse: Refuse,
): void {
  if (socketPath !== undefined && mode !== 'auto') throw refuse('it gives both a socket and a mode', 'leave one out')
  if (noVerify && knownHostsVerify !== undefined) {
    throw refuse('it gives both no_verify and known_hosts_verify', 'leave one out')
  }
  const byNetcat = netcat !== undefined || socketPath !== undefined || mode !== 'auto'
  if (proxy === 'native' && byNetcat) {
    throw refuse('virt-ssh-helper finds the daemon by itself', 'leave out proxy=native, or socket, mode and netcat')
  }
  if (transport === 'ssh' && path === '/session' && socketPath === undefined && (byNetcat || proxy === 'netcat')) {
    throw refuse('netcat does not find the socket of a session', 'add socket=/path, or leave netcat to virt-ssh-helper')
  }
}

function unknown(name: string, transport: LibvirtTransport, refuse: Refuse): AtpError {
  const names = Object.keys(PARAMETERS).filter((known) => PARAMETERS[known]?.of.includes(transport))
  const near = nearest(name, names)
  const known = names.length === 0 ? `${transport} has none` : `${transport} has ${names.join(', ')}`
  return refuse(`the parameter "${name}" is not known`, near === undefined ? known : `did you mean ${near}? ${known}`)
}

function risky(risk: Risk, refuse: Refuse): AtpError {
  const why = risk === 'no_verify' ? 'lets anybody pose as the host' : 'names a program to run'
  return refuse(`${risk} ${why}`, `if you mean it, allow it for this host: allow: ['${risk}']`)
}

type Place = Parameters<Parameter['read']>[1]

function oneOf<const T extends string>(values: readonly T[], value: string, { name, refuse }: Place): T {
  const found = values.find((known) => known === value)
  if (found === undefined) throw refuse(`${name} cannot be "${value}"`, `use ${values.join(', ')}`)
  return found
}

function path(value: string, { name, refuse }: Place): string {
  if (!value.startsWith('/')) throw refuse(`${name} is not an absolute path`)
  return value
}

/** A path that becomes part of a command line: nothing that a shell, or ssh's own expansion, gives a meaning to. */
function plainPath(value: string, at: Place): string {
  if (!/^[\p{L}\p{N}_./@+,=:-]+$/u.test(path(value, at))) {
    throw at.refuse(`${at.name} ${JSON.stringify(value)} holds characters that may not be part of a command`)
  }
  return value
}

function program(value: string, at: Place): string {
  if (!/^[A-Za-z0-9_./][A-Za-z0-9_./+-]*$/.test(value)) {
    throw at.refuse(`${at.name} ${JSON.stringify(value)} is not the name or path of a program`)
  }
  return value
}
