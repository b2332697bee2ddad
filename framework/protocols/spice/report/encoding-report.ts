import { sleep, type CallOptions } from '../../../core/deadline.ts'
import { isAtpError, messageOf } from '../../../core/errors.ts'
import { channelKey, type SpiceChannel } from '../channel.ts'
import type { MouseMode } from '../channels/main.ts'
import type { DisplayPicture } from '../display-picture.ts'
import type { ChannelId } from '../link-channel.ts'
import type { SpiceVmConnection } from '../vm-connection.ts'
import { DISPLAY_CAP, hasCapability, IMAGE_COMPRESSION } from '../wire/numbers.ts'
import { capabilityNames, commonCapabilityNames } from './capability-names.ts'

/** What a server offers on one channel. */
export interface OfferedChannel extends ChannelId {
  /** Names of what it says it can do: on every channel, on this type of channel. `bit 17` is one without a name. */
  common: readonly string[]
  capabilities: readonly string[]
  /** How long the link took; undefined when the channel could not be opened. */
  linkMs: number | undefined
  /** Why it could not be opened. */
  error?: { code: string | undefined; message: string }
}

/** What a server sent while it was asked for a compression. */
export interface TriedCompression {
  compression: keyof typeof IMAGE_COMPRESSION
  /** How many images came, by their type. None at all where the guest drew nothing meanwhile. */
  images: Record<string, number>
}

/** What a SPICE server offers. All of it can be written as JSON. */
export interface EncodingReport {
  server: string
  /** As the server names the VM, where it does. */
  vm: { name: string | undefined; uuid: string | undefined }
  mouseModes: readonly MouseMode[]
  agentConnected: boolean
  channels: readonly OfferedChannel[]
  /** Images and frames of streams since the display was opened, by type and codec. */
  images: Record<string, number>
  frames: Record<string, number>
  /** Whether clients choose how images are compressed, and which codec streams have. */
  choice: { compression: boolean; codec: boolean }
  tried: readonly TriedCompression[]
}

export interface EncodingReportOptions extends CallOptions {
  /**
   * Asks for each compression in turn and counts for so long what comes. The display is left with `autoGlz`, the
   * default of QEMU. Default 0: none is asked for.
   */
  tryForMs?: number
}

/** Opening a channel that does not come must not keep the others. */
const OPEN_TIMEOUT_MS = 10_000

/**
 * Opens every channel of a session that is not open, for as long as it takes to be told what the server can do.
 *
 * @param picture of the display whose images are counted.
 * @throws what ended the session, `ATP_INTERRUPTED`. A channel that cannot be opened is a part of the report.
 */
export async function encodingReport(
  connection: SpiceVmConnection,
  picture: DisplayPicture | undefined,
  { tryForMs = 0, signal, timeoutMs = OPEN_TIMEOUT_MS }: EncodingReportOptions = {},
): Promise<EncodingReport> {
  const { main } = connection
  const channels = [offeredBy(main)]
  for (const channel of main.channels) channels.push(await look(connection, channel, { signal, timeoutMs }))
  const display = connection.getChannel('display')
  const can = (bit: number) => hasCapability(display?.offered?.channel ?? [], bit)
  const choice = { compression: can(DISPLAY_CAP.preferredCompression), codec: can(DISPLAY_CAP.preferredVideoCodec) }
  const tried: TriedCompression[] = []
  if (tryForMs > 0 && display && picture && choice.compression) {
    for (const compression of Object.keys(IMAGE_COMPRESSION) as (keyof typeof IMAGE_COMPRESSION)[]) {
      const before = picture.counters.images
      await display.preferCompression(compression)
      await sleep(tryForMs, signal)
      tried.push({ compression, images: difference(before, picture.counters.images) })
    }
    await display.preferCompression('autoGlz')
  }
  const { images, frames } = picture?.counters ?? { images: {}, frames: {} }
  return {
    server: connection.server.name,
    vm: { name: main.vmName, uuid: main.vmUuid },
    mouseModes: main.init?.supportedMouseModes ?? [],
    agentConnected: main.agentConnected,
    channels,
    images,
    frames,
    choice,
    tried,
  }
}

async function look(connection: SpiceVmConnection, id: ChannelId, bounds: CallOptions): Promise<OfferedChannel> {
  const known = connection.channels.find((channel) => channelKey(channel) === channelKey(id))
  if (known?.offered) return offeredBy(known)
  try {
    const opened = await connection.openChannel(id.type, { id: id.id, ...bounds })
    const offered = offeredBy(opened)
    await connection.closeChannel(id.type, id.id)
    return offered
  } catch (error) {
    if (connection.main.state !== 'open' || isAtpError(error, 'ATP_INTERRUPTED')) throw error
    const code = isAtpError(error) ? error.code : undefined
    return { ...id, common: [], capabilities: [], linkMs: undefined, error: { code, message: messageOf(error) } }
  }
}

function offeredBy({ type, id, offered, statistics }: SpiceChannel): OfferedChannel {
  const { common = [], channel = [] } = offered ?? {}
  return {
    type,
    id,
    common: commonCapabilityNames(common),
    capabilities: capabilityNames(type, channel),
    linkMs: statistics.linkMs,
  }
}

function difference(before: Record<string, number>, after: Record<string, number>): Record<string, number> {
  const grown = Object.entries(after).map(([type, count]) => [type, count - (before[type] ?? 0)] as const)
  return Object.fromEntries(grown.filter(([, count]) => count > 0))
}
