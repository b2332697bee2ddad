import { formatLibvirtUri, parseLibvirtUri, RISKS, type LibvirtUri } from '../protocols/libvirt/index.ts'
import { SSH_NO_PROGRAM, SSH_READY, type SshAddress } from '../transport/index.ts'
import { SYSTEM_SOCKETS, type Environment } from './local-socket.ts'

const HOST_KEYS = { normal: 'known', auto: 'first', ignore: 'any' } as const

/** Where ssh leads, of a URI that {@link checkedForShell} has seen. */
export function sshAddress(uri: LibvirtUri, env: Environment): SshAddress {
  const { host = '', port, user, keyfile, knownHosts, knownHostsVerify, noVerify, command } = uri
  const hostKeys = noVerify ? 'any' : knownHostsVerify && HOST_KEYS[knownHostsVerify]
  return { host, port, user, keyfile, knownHosts, hostKeys, program: command, env }
}

/**
 * The command for the host's login shell: virt-ssh-helper, which finds the daemon by itself, and where that is
 * missing a netcat, as libvirt's own clients have it. A socket, a mode or a netcat in the URI speak for netcat alone.
 *
 * Every part has passed the checks of {@link parseLibvirtUri}: nothing in it means anything to a shell, and there is no
 * quote inside the quotes.
 */
export function remoteCommand(uri: LibvirtUri): string {
  const netcatOnly =
    uri.proxy === 'netcat' || uri.netcat !== undefined || uri.socketPath !== undefined || uri.mode !== 'auto'
  const ways: Way[] = []
  if (!netcatOnly) ways.push({ program: 'virt-ssh-helper', prepare: [], args: `qemu://${uri.path}` })
  // Without the helper nobody over there says where the socket of a session is.
  if (uri.proxy !== 'native' && (netcatOnly || uri.path === '/system')) ways.push(netcat(uri))
  const tries = ways.map(({ program, prepare, args }) => {
    const script = [...prepare, `echo ${SSH_READY}`, `exec ${program} ${args}`].join('; ')
    return `if command -v ${program} >/dev/null 2>&1; then ${script}; fi`
  })
  const missing = ways.map(({ program }) => program).join(' or ')
  return `sh -c '${[...tries, `echo missing: ${missing} >&2`, `exit ${SSH_NO_PROGRAM}`].join('; ')}'`
}

/** A program that leads to the daemon, and what the shell over there must find out first. */
interface Way {
  program: string
  prepare: string[]
  args: string
}

function netcat({ netcat: program = 'nc', socketPath, mode }: LibvirtUri): Way {
  // Some netcats go on for ever after the end of their input unless told otherwise; others do not know the option.
  const quit = `if ${program} -q </dev/null 2>&1 | grep "requires an argument" >/dev/null 2>&1; then Q=-q0; else Q=; fi`
  const legacy = `${SYSTEM_SOCKETS}/libvirt-sock`
  const direct = `${SYSTEM_SOCKETS}/virtqemud-sock`
  if (socketPath !== undefined) return { program, prepare: [quit], args: `$Q -U ${socketPath}` }
  if (mode !== 'auto') return { program, prepare: [quit], args: `$Q -U ${mode === 'direct' ? direct : legacy}` }
  const discover = `if test -S ${direct}; then S=${direct}; else S=${legacy}; fi`
  return { program, prepare: [quit, discover], args: '$Q -U $S' }
}

/**
 * A URI whose parts may become part of a command line: whoever made the object, it is read anew from its text.
 *
 * @throws `ATP_LIBVIRT_URI`
 */
export function checkedForShell(uri: LibvirtUri): LibvirtUri {
  return parseLibvirtUri(formatLibvirtUri(uri), { allow: RISKS })
}
