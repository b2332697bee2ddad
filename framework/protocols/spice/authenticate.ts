import type { CallOptions } from '../../core/deadline.ts'
import { isAtpError } from '../../core/errors.ts'
import type { Secret } from '../../core/secret.ts'
import { chooseMechanism, untrustedError, type SaslCredentials, type SaslMechanism } from '../sasl/index.ts'
import {
  authNeededError,
  authUnsupportedError,
  linkRefusedError,
  saslRefusedError,
  spiceProtocolError,
  ticketRefusedError,
} from './errors.ts'
import type { HandshakeStream } from './handshake-stream.ts'
import { decodeLinkHeader, decodeLinkReply, LINK_HEADER_BYTES, type LinkReply } from './link.ts'
import { encryptTicket } from './ticket.ts'
import { AUTH, COMMON_CAP, hasCapability, LINK_ERROR, MAGIC } from './wire/numbers.ts'
import { SpiceReader } from './wire/reader.ts'
import { SpiceWriter } from './wire/writer.ts'

/** What lets a client in. Without anything a server that asks for nothing is entered. */
export interface SpiceCredentials {
  /** Password of the console ("ticket"). */
  password?: Secret
  /** For servers that ask for a user: over streams that nobody else can read only. */
  sasl?: SaslCredentials
}

export interface AuthenticateOptions extends CallOptions {
  /** For messages: server and channel. */
  place: string
  credentials: SpiceCredentials
}

const SASL_DATA_MAX_BYTES = 65_536
const MECHANISMS_MAX_BYTES = 4096

/**
 * Does what follows the link reply: chooses the mechanism, proves who we are, waits for admission.
 *
 * @throws `ATP_SPICE_AUTH`, `ATP_SPICE_AUTH_NEEDED`, `ATP_SPICE_AUTH_UNSUPPORTED`, `ATP_SPICE_TICKET`,
 *   `ATP_SPICE_LINK` for another refusal, what SASL throws, `ATP_SPICE_PROTOCOL`.
 */
export async function authenticate(
  stream: HandshakeStream,
  reply: LinkReply,
  options: AuthenticateOptions,
): Promise<void> {
  const { place, credentials } = options
  const selects = hasCapability(reply.common, COMMON_CAP.authSelection)
  const offersSasl = selects && hasCapability(reply.common, COMMON_CAP.authSasl)
  // Servers from before the choice know tickets only.
  const offersTicket = !selects || hasCapability(reply.common, COMMON_CAP.authSpice)
  if (offersSasl && (credentials.sasl || !offersTicket)) {
    if (!credentials.sasl) throw authNeededError(place, 'a SASL user and password')
    return bySasl(stream, credentials.sasl, options)
  }
  if (!offersTicket) {
    throw authUnsupportedError(place, 'the server offers neither tickets nor SASL', 'let the server offer one of them')
  }
  if (credentials.sasl && !credentials.password) {
    throw authUnsupportedError(place, 'the server does not offer SASL', 'give the password of the console instead')
  }
  if (selects) await stream.write(new SpiceWriter(4).u32(AUTH.ticket).finish())
  await stream.write(await encryptTicket(reply.publicKey, credentials.password?.reveal() ?? ''))
  await admission(stream, options, () =>
    credentials.password ? ticketRefusedError(place) : authNeededError(place, 'a password'),
  )
}

/** Reads the result of the link; a mechanism that is refused is answered by a whole reply instead. */
async function admission(stream: HandshakeStream, options: AuthenticateOptions, refused: () => Error): Promise<void> {
  const { place } = options
  const result = new SpiceReader(await stream.read(4, options), place).u32()
  if (result === LINK_ERROR.ok) return
  if (result === MAGIC) throw await mechanismRefused(stream, options)
  throw result === LINK_ERROR.permissionDenied ? refused() : linkRefusedError(place, result)
}

async function mechanismRefused(stream: HandshakeStream, options: AuthenticateOptions): Promise<Error> {
  const { place } = options
  const header = new SpiceWriter(LINK_HEADER_BYTES)
    .u32(MAGIC)
    .bytes(await stream.read(LINK_HEADER_BYTES - 4, options))
    .finish()
  const body = await stream.read(decodeLinkHeader(header, place), options)
  const { error } = decodeLinkReply(body, place)
  return authUnsupportedError(
    place,
    `the server refuses the way of authentication (${error})`,
    'let it offer tickets, or SASL over TLS',
  )
}

async function bySasl(stream: HandshakeStream, sasl: SaslCredentials, options: AuthenticateOptions): Promise<void> {
  const { place } = options
  if (!stream.confidential) {
    throw authUnsupportedError(
      place,
      'the server wants SASL over a connection that others can read',
      'use its TLS port, with verification',
    )
  }
  await stream.write(new SpiceWriter(4).u32(AUTH.sasl).finish())
  const mechanism = choose(await readMechanisms(stream, options), sasl, options)
  try {
    const finished = await exchange(stream, mechanism, options)
    if (!finished) throw saslRefusedError(place, sasl.user, mechanism.name)
    await admission(stream, options, () => saslRefusedError(place, sasl.user, mechanism.name))
  } catch (error) {
    // A server closes on a wrong password, without a word.
    if (isAtpError(error, 'ATP_SPICE_LINK_ENDED')) throw saslRefusedError(place, sasl.user, mechanism.name, error)
    throw error
  }
}

function choose(offered: string[], sasl: SaslCredentials, { place }: AuthenticateOptions): SaslMechanism {
  try {
    return chooseMechanism(offered, sasl, { server: place, confidential: true })
  } catch (error) {
    if (!isAtpError(error, 'ATP_SASL_NO_MECHANISM')) throw error
    throw authUnsupportedError(
      place,
      `the server offers the SASL mechanisms ${offered.join(', ') || 'none'}; usable are SCRAM-SHA-256 and PLAIN`,
      'let the server offer SCRAM-SHA-256 (mech_list in /etc/sasl2/qemu.conf)',
      error,
    )
  }
}

async function readMechanisms(stream: HandshakeStream, options: AuthenticateOptions): Promise<string[]> {
  const sizeBytes = await readSize(stream, MECHANISMS_MAX_BYTES, options)
  return new TextDecoder()
    .decode(await stream.read(sizeBytes, options))
    .split(',')
    .filter(Boolean)
}

/** True when the server admits; false when it does not. */
async function exchange(
  stream: HandshakeStream,
  mechanism: SaslMechanism,
  options: AuthenticateOptions,
): Promise<boolean> {
  const { place } = options
  const name = new TextEncoder().encode(mechanism.name)
  await stream.write(new SpiceWriter().u32(name.length).bytes(name).finish())
  await writeData(stream, mechanism.start())
  for (;;) {
    const data = await readData(stream, options)
    const done = new SpiceReader(await stream.read(1, options), place).u8() === 1
    const answer = data && !mechanism.done ? await mechanism.step(data) : undefined
    if (done) {
      if (!mechanism.done) {
        throw untrustedError(
          place,
          `it reports success before ${mechanism.name} has proven that it is the right server`,
        )
      }
      return new SpiceReader(await stream.read(4, options), place).u32() === 0
    }
    if (!answer) throw untrustedError(place, `it comes to no end with ${mechanism.name}`)
    await writeData(stream, answer)
  }
}

/** Data of either side ends with a NUL, which counts; none at all is a length of 0. */
async function writeData(stream: HandshakeStream, data: Uint8Array | undefined): Promise<void> {
  const writer = new SpiceWriter()
  if (data)
    writer
      .u32(data.length + 1)
      .bytes(data)
      .u8(0)
  else writer.u32(0)
  await stream.write(writer.finish())
}

async function readData(stream: HandshakeStream, options: AuthenticateOptions): Promise<Uint8Array | undefined> {
  const sizeBytes = await readSize(stream, SASL_DATA_MAX_BYTES, options)
  return sizeBytes === 0 ? undefined : (await stream.read(sizeBytes, options)).subarray(0, sizeBytes - 1)
}

async function readSize(stream: HandshakeStream, maxBytes: number, options: AuthenticateOptions): Promise<number> {
  const { place } = options
  const sizeBytes = new SpiceReader(await stream.read(4, options), place).u32()
  if (sizeBytes > maxBytes) throw spiceProtocolError(place, `SASL data of ${sizeBytes} bytes`)
  return sizeBytes
}
