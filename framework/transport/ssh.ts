import {
  connectError,
  isAtpError,
  remoteError,
  unsupportedError,
  type AtpError,
  type CallOptions,
} from '../core/index.ts'
import type { ByteStream } from '../wire/byte-stream.ts'
import { afterPrelude } from './prelude.ts'
import { hostAndPort } from './tcp.ts'
import { spawnStream, type ProcessEnd } from './process.ts'

/** What the remote command says, on a line of its own, once it is about to pass bytes on. */
export const SSH_READY = 'ocloudview-atp-ready'
/** Exit code by which the remote command says that the host has no program to pass bytes on. */
export const SSH_NO_PROGRAM = 96

/** Longest time ssh can wait for: it counts milliseconds in an int. */
const LONGEST_S = 2_147_483

/** What a host's own start-up files may print before that line. */
const CHATTER_MAX_BYTES = 65_536

export interface SshAddress {
  /** Name, alias of the ssh configuration, or address. */
  host: string
  /** Default: what ssh's configuration says. */
  port?: number
  user?: string
  /** Private key; only this one is offered. */
  keyfile?: string
  /** File of trusted host keys. */
  knownHosts?: string
  /** `known`: trusted keys only; `first`: also that of a host seen for the first time; `any`. Default: ssh's own. */
  hostKeys?: 'known' | 'first' | 'any'
  /** The ssh program. Default `ssh`, from the search path. */
  program?: string
  env?: Readonly<Record<string, string | undefined>>
}

/**
 * Runs a command on a host through the system's own `ssh`, and speaks with it: keys, agents, jump hosts and
 * everything else are as `~/.ssh/config` has them, except that nobody is asked anything.
 *
 * `command` is a line for the login shell over there. It prints {@link SSH_READY} when it begins to pass bytes on;
 * what comes before is dropped. The caller answers for its quoting.
 *
 * @throws `ATP_SSH_MISSING` without an ssh program, `ATP_SSH_HOST_KEY`, `ATP_SSH_AUTH`, `ATP_SSH_CONNECT`,
 *   `ATP_SSH_NO_PROGRAM`, `ATP_SSH_ENDED`, each with what ssh said last, `ATP_TRANSPORT_TIMEOUT`, `ATP_INTERRUPTED`.
 *   Later the stream ends with `ATP_SSH_ENDED`.
 */
export async function connectSsh(address: SshAddress, command: string, options: CallOptions = {}): Promise<ByteStream> {
  const { signal, timeoutMs } = options
  const { host, port } = address
  const peer = `ssh:${port === undefined ? host : hostAndPort({ host, port })}`
  let ready = false
  const stream = await start(address, sshArguments(address, command, timeoutMs), {
    signal,
    peer,
    confidential: address.hostKeys !== 'any',
    env: address.env,
    explain: (end) => {
      if (!ready) return earlyError(peer, end)
      return end.exitCode === 0 ? undefined : endedError(peer, end, 'while in use')
    },
  })
  return afterPrelude(
    stream,
    {
      missing: 'did not say that it is ready',
      maxBytes: CHATTER_MAX_BYTES,
      lengthIn: (received) => {
        const line = `${SSH_READY}\n`
        const at = received.indexOf(line)
        ready = at >= 0
        return ready ? at + line.length : undefined
      },
      ended: (reason) => reason ?? earlyError(peer, { exitCode: null, signal: null, stderr: '' }),
    },
    { signal, timeoutMs },
  )
}

/** The arguments of ssh: whatever the user's configuration says that would get in the way is overruled. */
function sshArguments(address: SshAddress, command: string, timeoutMs?: number): string[] {
  const { host, port, user, keyfile, knownHosts, hostKeys } = address
  const settings = [
    'BatchMode=yes',
    'LogLevel=ERROR',
    // Several connections to a host would fight for its forwarded ports.
    'ClearAllForwardings=yes',
    'RemoteCommand=none',
    // A process that lost its network and its parent ends all the same.
    'ServerAliveInterval=15',
  ]
  const timeoutS = Math.max(1, Math.ceil((timeoutMs ?? Infinity) / 1000))
  if (timeoutS <= LONGEST_S) settings.push(`ConnectTimeout=${timeoutS}`)
  if (keyfile !== undefined) settings.push('IdentitiesOnly=yes')
  if (hostKeys !== undefined) settings.push(`StrictHostKeyChecking=${STRICTNESS[hostKeys]}`)
  // Where anybody may answer, nothing is learnt from whoever did.
  const trusted = knownHosts ?? (hostKeys === 'any' ? '/dev/null' : undefined)
  if (trusted !== undefined) settings.push(`UserKnownHostsFile=${trusted}`)
  return [
    '-T',
    // Nothing of this machine is lent to the host, whatever the user's configuration forwards.
    '-a',
    '-x',
    '-e',
    'none',
    ...settings.flatMap((setting) => ['-o', setting]),
    ...(port === undefined ? [] : ['-p', String(port)]),
    ...(user === undefined ? [] : ['-l', user]),
    ...(keyfile === undefined ? [] : ['-i', keyfile]),
    '--',
    host,
    command,
  ]
}

const STRICTNESS = { known: 'yes', first: 'accept-new', any: 'no' } as const

async function start(
  { program = 'ssh' }: SshAddress,
  args: string[],
  options: Parameters<typeof spawnStream>[1],
): Promise<ByteStream> {
  try {
    return await spawnStream([program, ...args], options)
  } catch (error) {
    if (!isAtpError(error, 'ATP_PROCESS_START') || error.context['errno'] !== 'ENOENT') throw error
    throw unsupportedError('ATP_SSH_MISSING', `there is no program "${program}" on this machine`, {
      cause: error,
      verdict: 'infrastructure',
      remedy: 'install OpenSSH’s client: the package openssh-client',
    })
  }
}

/** Why ssh ended before the remote command began. */
function earlyError(peer: string, end: ProcessEnd): AtpError {
  const { exitCode, stderr } = end
  const context = { peer, ...end }
  const said = stderr === '' ? '' : `:\n${stderr}`
  if (exitCode === SSH_NO_PROGRAM) {
    return unsupportedError('ATP_SSH_NO_PROGRAM', `${peer} has no program that passes bytes on${said}`, {
      context,
      verdict: 'infrastructure',
      remedy: 'install what is missing on the host',
    })
  }
  // Any other exit code is not ssh's own but that of what it ran.
  if (exitCode !== 255) return endedError(peer, end, 'before the remote command began')
  if (/REMOTE HOST IDENTIFICATION HAS CHANGED|Host key verification failed|host key is known/i.test(stderr)) {
    const changed = /HAS CHANGED/.test(stderr)
    return connectError(
      'ATP_SSH_HOST_KEY',
      `${peer} shows ${changed ? 'another host key than the known one' : 'a host key that is not known'}${said}`,
      {
        context: { ...context, changed },
        remedy: changed
          ? 'find out why; where the host was set up anew, remove its old key: ssh-keygen -R <host>'
          : 'connect once by hand and compare the key: ssh <host>',
      },
    )
  }
  if (/Permission denied|Too many authentication failures|No supported authentication methods/i.test(stderr)) {
    return remoteError('ATP_SSH_AUTH', `${peer} does not let this user in${said}`, {
      context,
      remedy:
        'use a key that the host admits, without a passphrase or in an agent: "ssh -o BatchMode=yes <host>" must work',
    })
  }
  return connectError('ATP_SSH_CONNECT', `ssh cannot connect to ${peer}${said}`, {
    context,
    retryable: true,
    remedy: 'check name, port and network; "ssh -v <host>" shows more',
  })
}

/** The end of a connection, with how it ended and what was said last. */
function endedError(peer: string, end: ProcessEnd, when: string): AtpError {
  const { exitCode, signal, stderr } = end
  const how = signal === null ? `with exit code ${exitCode}` : `by ${signal}`
  return connectError('ATP_SSH_ENDED', `${peer} ended ${when}, ${how}${stderr === '' ? '' : `:\n${stderr}`}`, {
    context: { peer, ...end },
    retryable: true,
  })
}
