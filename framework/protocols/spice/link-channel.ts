import type { CallOptions } from '../../core/deadline.ts'
import { isAtpError } from '../../core/errors.ts'
import type { ByteStream } from '../../wire/byte-stream.ts'
import { authenticate, type SpiceCredentials } from './authenticate.ts'
import { linkRefusedError } from './errors.ts'
import { HandshakeStream } from './handshake-stream.ts'
import {
  decodeLinkHeader,
  decodeLinkReply,
  encodeLinkRequest,
  LINK_HEADER_BYTES,
  type LinkReply,
  type LinkRequest,
} from './link.ts'
import { CHANNEL, COMMON_CAP, type ChannelName } from './wire/numbers.ts'

/** One channel of a server. */
export interface ChannelId {
  type: ChannelName
  /** Counts channels of a type from 0. */
  id: number
}

/** Opens one more byte stream to a server. Every channel has a stream of its own. */
export type SpiceCarrier = (channel: ChannelId, options: CallOptions) => Promise<ByteStream>

/** Where a server is, and what lets a client in. */
export interface SpiceServer {
  /** For messages: `tcp:host:5900`, `vm-001`. */
  name: string
  open: SpiceCarrier
  /** To the same server over TLS: taken for channels that the server opens over TLS only. */
  openSecured?: SpiceCarrier
  credentials?: SpiceCredentials
}

/** A channel that the server admitted. */
export interface LinkedChannel {
  stream: HandshakeStream
  reply: LinkReply
}

export interface LinkChannelOptions extends CallOptions {
  /** Session to join; 0 begins one. */
  connectionId: number
  /** Bits of the channel's own capabilities. */
  capabilities: readonly number[]
}

/** How a channel is called in messages. */
export function placeOf(server: SpiceServer, { type, id }: ChannelId): string {
  return `${server.name}, ${type} channel${id === 0 ? '' : ` ${id}`}`
}

/**
 * Opens a stream, links and authenticates. A server that wants TLS for this channel gets it where the server has a
 * secured carrier. Whatever goes wrong, no stream is left.
 *
 * @throws what the carrier throws; `ATP_SPICE_LINK`, `ATP_SPICE_NEED_SECURED`, `ATP_SPICE_NEED_UNSECURED`,
 *   `ATP_SPICE_LINK_ENDED`, what {@link authenticate} throws, `ATP_TIMEOUT`, `ATP_INTERRUPTED`.
 */
export async function linkChannel(
  server: SpiceServer,
  channel: ChannelId,
  options: LinkChannelOptions,
): Promise<LinkedChannel> {
  try {
    return await linkOver(server.open, server, channel, options)
  } catch (error) {
    const { openSecured } = server
    if (!openSecured || openSecured === server.open || !isAtpError(error, 'ATP_SPICE_NEED_SECURED')) throw error
    return await linkOver(openSecured, server, channel, options)
  }
}

async function linkOver(
  open: SpiceCarrier,
  server: SpiceServer,
  channel: ChannelId,
  { connectionId, capabilities, ...bounds }: LinkChannelOptions,
): Promise<LinkedChannel> {
  const place = placeOf(server, channel)
  const { credentials = {} } = server
  const stream = new HandshakeStream(await open(channel, bounds), place)
  try {
    const common: number[] = [COMMON_CAP.authSelection, COMMON_CAP.authSpice, COMMON_CAP.miniHeader]
    if (credentials.sasl) common.push(COMMON_CAP.authSasl)
    const request: LinkRequest = {
      connectionId,
      channelType: CHANNEL[channel.type],
      channelId: channel.id,
      common,
      channel: capabilities,
    }
    await stream.write(encodeLinkRequest(request))
    const header = await stream.read(LINK_HEADER_BYTES, bounds)
    const reply = decodeLinkReply(await stream.read(decodeLinkHeader(header, place), bounds), place)
    if (reply.error !== 0) throw linkRefusedError(place, reply.error)
    await authenticate(stream, reply, { ...bounds, place, credentials })
    return { stream, reply }
  } catch (error) {
    stream.destroy()
    throw error
  }
}
