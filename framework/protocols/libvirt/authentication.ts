import { configError, isAtpError, remoteError, unsupportedError, type AtpError } from '../../core/index.ts'
import type { XdrReader, XdrWriter } from '../../wire/index.ts'
import { chooseMechanism, untrustedError, type SaslCredentials, type SaslMechanism } from '../sasl/index.ts'
import { AUTH, LIMIT, REMOTE } from './protocol-numbers.ts'

/** One call of the program REMOTE, within the opening of a connection. */
export type OpeningCall = <T>(
  what: string,
  procedure: number,
  encode: ((writer: XdrWriter) => unknown) | undefined,
  decode: (reader: XdrReader) => T,
) => Promise<T>

export interface AuthenticationOptions {
  /** Where the connection leads, for messages. */
  peer: string
  /** Whether only the daemon can read what is sent. */
  confidential: boolean
  sasl: SaslCredentials | undefined
}

/**
 * Does what the daemon demands: nothing, SASL, or polkit.
 *
 * @throws `ATP_LIBVIRT_AUTH_NEEDED` where it demands a password and none is given; `ATP_LIBVIRT_AUTH_UNSUPPORTED`
 *   where none of its mechanisms can be used; `ATP_LIBVIRT_AUTH` where it refuses; `ATP_SASL_UNTRUSTED` where it does
 *   not prove what it should; `ATP_SASL_CREDENTIALS` and what {@link SaslMechanism.step} throws.
 */
export async function authenticate(call: OpeningCall, options: AuthenticationOptions): Promise<void> {
  const kinds = await call('listing ways of authentication', REMOTE.AUTH_LIST, undefined, (reader) =>
    Array.from({ length: reader.count(LIMIT.AUTH_LIST_MAX) }, () => reader.i32()),
  )
  if (kinds.length === 0 || kinds.includes(AUTH.NONE)) return
  const { peer, sasl } = options
  if (kinds.includes(AUTH.SASL) && (sasl || !kinds.includes(AUTH.POLKIT))) {
    if (!sasl) throw neededError(peer)
    return bySasl(call, sasl, options)
  }
  if (!kinds.includes(AUTH.POLKIT)) {
    throw unsupportedError(
      'ATP_LIBVIRT_AUTH_UNSUPPORTED',
      `${peer} demands authentication of kind ${kinds.join(', ')}`,
      {
        remedy: 'let the daemon demand nothing, sasl or polkit on this socket',
      },
    )
  }
  await call('authenticating by polkit', REMOTE.AUTH_POLKIT, undefined, (reader) => reader.i32())
}

async function bySasl(call: OpeningCall, sasl: SaslCredentials, options: AuthenticationOptions): Promise<void> {
  const { peer } = options
  const mechanism = await choose(call, sasl, options)
  const { name } = mechanism
  const say: OpeningCall = async (...args) => {
    try {
      return await call(...args)
    } catch (error) {
      throw isAtpError(error, 'ATP_LIBVIRT_AUTH') ? refusedError(peer, sasl.user, name, error) : error
    }
  }
  let reply = await say(
    `authenticating by ${name}`,
    REMOTE.AUTH_SASL_START,
    (writer) => writeData(writer.string(name), mechanism.start()),
    readReply,
  )
  // It ends: no mechanism has an answer once it is done.
  for (;;) {
    const answer = reply.data && !mechanism.done ? await mechanism.step(reply.data) : undefined
    if (reply.complete && mechanism.done) return
    if (reply.complete)
      throw untrustedError(peer, `it reports success before ${name} has proven that it is the right server`)
    if (!answer) throw untrustedError(peer, `it comes to no end with ${name}`)
    reply = await say(
      `authenticating by ${name}`,
      REMOTE.AUTH_SASL_STEP,
      (writer) => writeData(writer, answer),
      readReply,
    )
  }
}

async function choose(
  call: OpeningCall,
  sasl: SaslCredentials,
  { peer, confidential }: AuthenticationOptions,
): Promise<SaslMechanism> {
  let offered: string[] = []
  try {
    const read = (reader: XdrReader) => reader.string(LIMIT.SASL_DATA_MAX)
    const list = await call('asking for SASL mechanisms', REMOTE.AUTH_SASL_INIT, undefined, read)
    offered = list.split(',').filter(Boolean)
    return chooseMechanism(offered, sasl, { server: peer, confidential })
  } catch (error) {
    // A daemon without any mechanism to offer refuses the question itself.
    if (!isAtpError(error, 'ATP_SASL_NO_MECHANISM') && !isAtpError(error, 'ATP_LIBVIRT_AUTH')) throw error
    throw unsupportedError(
      'ATP_LIBVIRT_AUTH_UNSUPPORTED',
      `${peer} demands SASL and offers no mechanism that can be used (${offered.join(', ') || 'none at all'})`,
      {
        context: { offered },
        remedy:
          'let /etc/sasl2/libvirt.conf say "mech_list: scram-sha-256" and connect by TLS, ssh or the Unix socket: over plain TCP libvirt takes only mechanisms that encrypt, which are obsolete',
      },
    )
  }
}

interface SaslReply {
  complete: boolean
  /** Undefined where the daemon has nothing to say, which is not the same as an empty message. */
  data: Uint8Array | undefined
}

/** The daemon sends a character in four bytes. */
function readReply(reader: XdrReader): SaslReply {
  const complete = reader.i32() !== 0
  const nothing = reader.i32() !== 0
  const data = Uint8Array.from({ length: reader.count(LIMIT.SASL_DATA_MAX) }, () => reader.i32())
  return { complete, data: nothing ? undefined : data }
}

function writeData(writer: XdrWriter, data: Uint8Array | undefined): void {
  writer.i32(data ? 0 : 1).u32(data?.length ?? 0)
  // Signed, as a C compiler widens a character.
  for (const byte of data ?? []) writer.i32((byte << 24) >> 24)
}

function neededError(peer: string): AtpError {
  return configError('ATP_LIBVIRT_AUTH_NEEDED', `${peer} demands a user name and a password`, {
    remedy: 'give this host a SASL user and password in the configuration',
  })
}

function refusedError(peer: string, user: string, mechanism: string, { context }: AtpError): AtpError {
  return remoteError('ATP_LIBVIRT_AUTH', `${peer} does not let the user ${JSON.stringify(user)} in by ${mechanism}`, {
    context,
    remedy: 'check user and password; "saslpasswd2 -a libvirt USER" on the host sets a new one',
  })
}
