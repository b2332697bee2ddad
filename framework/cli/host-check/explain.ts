import { isAtpError, messageOf } from '../../core/index.ts'
import { DEFAULT_PORT, type LibvirtUri } from '../../protocols/libvirt/index.ts'
import type { Finding } from '../finding.ts'

/** Everything an error and its causes say. */
interface Told {
  /** Ours (`ATP_SSH_AUTH`) and the operating system's (`ECONNREFUSED`). */
  codes: Set<unknown>
  libvirtCode: unknown
  /** All messages, for what has no code. */
  text: string
}

interface Rule {
  when: (told: Told, uri: LibvirtUri) => boolean
  remedy: (uri: LibvirtUri, told: Told) => string
}

const UNREACHABLE = ['ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'ATP_TRANSPORT_TIMEOUT']
/** `VIR_ERR_NO_CONNECT` */
const LIBVIRT_NO_CONNECT = 5

const any =
  (...codes: string[]) =>
  (told: Told) =>
    codes.some((code) => told.codes.has(code))
const unix = ({ transport }: LibvirtUri) => transport === 'unix'
const ssh = ({ transport }: LibvirtUri) => transport === 'ssh'

/** How a person would log in there. */
function login({ user, host, port }: LibvirtUri): string {
  return `${port === undefined ? '' : `-p ${port} `}${user === undefined ? '' : `${user}@`}${host}`
}

/** The name under which ssh remembers a host's key. */
function rememberedName({ host, port }: LibvirtUri): string {
  return port === undefined || port === DEFAULT_PORT.ssh ? `${host}` : `'[${host}]:${port}'`
}

/** What a reader can do, with the host's own names in it, where the error itself knows less. The first that fits wins. */
const RULES: Rule[] = [
  {
    when: (told) => told.codes.has('ATP_SSH_HOST_KEY') && /HAS CHANGED/.test(told.text),
    remedy: (uri) =>
      `make sure that this is the right machine, then forget its old key: ssh-keygen -R ${rememberedName(uri)}, and log in once: ssh ${login(uri)}`,
  },
  {
    when: any('ATP_SSH_HOST_KEY'),
    remedy: (uri) => `log in once by hand and compare the fingerprint: ssh ${login(uri)}`,
  },
  {
    when: any('ATP_SSH_AUTH'),
    remedy: (uri) => `put your public key there: ssh-copy-id ${login(uri)}; "ssh ${login(uri)} true" must ask nothing`,
  },
  {
    when: any('ATP_SSH_NO_PROGRAM'),
    remedy: () =>
      'install netcat-openbsd on the host, or a libvirt-daemon of version 6.8 or later: it brings virt-ssh-helper',
  },
  {
    when: (told) => told.codes.has('ENOTFOUND') || /Could not resolve hostname/i.test(told.text),
    remedy: ({ host }) => `check the spelling of "${host}", or give an address; "getent hosts ${host}" must answer`,
  },
  {
    when: any('EAI_AGAIN'),
    remedy: () => 'the name server does not answer: check /etc/resolv.conf and the network',
  },
  {
    when: (told, uri) => ssh(uri) && /Connection refused/i.test(told.text),
    remedy: (uri) => `no sshd listens there; start it, or name its port in the URI: ssh ${login(uri)}`,
  },
  {
    when: (told, uri) => !unix(uri) && told.codes.has('ECONNREFUSED'),
    remedy: ({ transport, port }) => {
      const unit = transport === 'tls' ? 'tls' : 'tcp'
      return (
        `nothing listens on port ${port ?? DEFAULT_PORT[unit]}: on the host, "systemctl enable --now ` +
        `libvirtd-${unit}.socket" (modular daemons: virtproxyd-${unit}.socket)`
      )
    },
  },
  {
    when: (told, uri) => !unix(uri) && (any(...UNREACHABLE)(told) || /Connection timed out|No route/i.test(told.text)),
    remedy: ({ host, port, transport }) =>
      `the host is off, or a firewall drops packets: nc -vz ${host} ${port ?? DEFAULT_PORT[transport as 'ssh']}`,
  },
  {
    when: ({ libvirtCode, text }) => libvirtCode === LIBVIRT_NO_CONNECT || /no connection driver available/i.test(text),
    remedy: () =>
      'install libvirt-daemon-driver-qemu and qemu-system-x86 on the host, then restart its daemon (libvirtd or virtqemud)',
  },
  {
    when: (told) => told.codes.has('ATP_LIBVIRT_AUTH') && /polkit/i.test(told.text),
    remedy: () => 'add the user to the group libvirt on the host, or let polkit allow org.libvirt.unix.manage',
  },
  {
    when: (told) => told.codes.has('ATP_LIBVIRT_TIMEOUT') && /listing ways of authentication/.test(told.text),
    remedy: () =>
      'the connection is there and nobody serves it: the daemon hangs or takes no more clients (max_clients, max_anonymous_clients in libvirtd.conf), or something else listens there',
  },
  {
    when: any('ATP_LIBVIRT_ENDED'),
    remedy: () =>
      'the daemon closed the connection: too many clients (max_clients, max_anonymous_clients in libvirtd.conf), or it is just ending; its journal says which',
  },
]

/**
 * A failure as a finding: the error's own place and cause, its own remedy or, where it has none that fits, ours.
 *
 * @param what Which part of the check failed.
 */
export function explain(what: string, error: unknown, uri: LibvirtUri | undefined): Finding {
  const told = tell(error)
  const rule = uri && RULES.find(({ when }) => when(told, uri))
  const remedy = rule ? rule.remedy(uri, told) : isAtpError(error) ? error.remedy : undefined
  return {
    state: 'bad',
    what,
    detail: withoutRemedy(error),
    ...(isAtpError(error) && { code: error.code }),
    ...(remedy && { remedy }),
  }
}

/** The message of an error without the line that says what to do. */
export function withoutRemedy(error: unknown): string {
  return messageOf(error).replace(/\n\s*→[^]*$/, '')
}

function tell(error: unknown): Told {
  const told: Told = { codes: new Set(), libvirtCode: undefined, text: '' }
  // Causes can refer to each other.
  for (let at = error, depth = 0; at !== undefined && at !== null && depth < 8; depth++) {
    told.codes.add((at as { code?: unknown }).code)
    if (isAtpError(at)) {
      told.codes.add(at.context['errno'])
      told.libvirtCode ??= at.context['libvirtCode']
    }
    told.text += `${messageOf(at)}\n`
    at = (at as Error).cause
  }
  return told
}
