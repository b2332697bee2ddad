import { capabilityWords, hasCapability } from '../wire/numbers.ts'
import { SpiceReader } from '../wire/reader.ts'
import { SpiceWriter } from '../wire/writer.ts'
import { monitorsError } from './errors.ts'
import { AGENT_CAP, FILE_STATUS, MONITORS_USE_POSITION, type AgentCapability } from './numbers.ts'

/** Words of capabilities that are looked at. */
const CAPABILITY_WORDS_MAX = 32
/** Types that one offer of a clipboard may name. */
const GRAB_TYPES_MAX = 64
const MONITORS_MAX = 16
const MONITOR_MAX_PIXELS = 32_767
const COLOR_DEPTH = 32

/** A monitor as the guest shall arrange it, in pixels. */
export interface AgentMonitor {
  width: number
  height: number
  /** Place of its top left corner; monitors without one stand in a row. */
  x?: number
  y?: number
}

/** `VDAgentAnnounceCapabilities` */
export interface Announcement {
  /** Whether the peer wants ours in return. */
  request: boolean
  capabilities: ReadonlySet<AgentCapability>
}

export function readAnnouncement(reader: SpiceReader): Announcement {
  const request = reader.u32() !== 0
  const count = Math.min(reader.remaining >>> 2, CAPABILITY_WORDS_MAX)
  const words = Array.from({ length: count }, () => reader.u32())
  const names = Object.keys(AGENT_CAP) as AgentCapability[]
  return { request, capabilities: new Set(names.filter((name) => hasCapability(words, AGENT_CAP[name]))) }
}

export function writeAnnouncement(request: boolean, capabilities: readonly AgentCapability[]): Uint8Array {
  const writer = new SpiceWriter().u32(request ? 1 : 0)
  for (const word of capabilityWords(capabilities.map((name) => AGENT_CAP[name]))) writer.u32(word)
  return writer.finish()
}

/** Which clipboard a message is about: 4 bytes, where both sides know several. */
export function readSelection(reader: SpiceReader, selections: boolean): number {
  if (!selections) return 0
  const selection = reader.u8()
  reader.skip(3)
  return selection
}

/** The types of content that a `VDAgentClipboardGrab` offers. */
export function readGrabTypes(reader: SpiceReader): number[] {
  const count = Math.min(reader.remaining >>> 2, GRAB_TYPES_MAX)
  return Array.from({ length: count }, () => reader.u32())
}

/** A writer behind the selection that clipboard messages begin with. */
export function writeSelection(selection: number, selections: boolean): SpiceWriter {
  const writer = new SpiceWriter()
  return selections ? writer.u8(selection).u8(0).u16(0) : writer
}

/** `VDAgentMonitorsConfig`: height before width. @throws `ATP_SPICE_MONITORS` for what cannot be. */
export function writeMonitors(monitors: readonly AgentMonitor[]): Uint8Array {
  if (monitors.length === 0 || monitors.length > MONITORS_MAX) {
    throw monitorsError(`${monitors.length} monitors cannot be arranged`)
  }
  const writer = new SpiceWriter().u32(monitors.length).u32(MONITORS_USE_POSITION)
  let nextX = 0
  for (const { width, height, x = nextX, y = 0 } of monitors) {
    if (![width, height].every((size) => Number.isInteger(size) && size > 0 && size <= MONITOR_MAX_PIXELS)) {
      throw monitorsError(`a monitor cannot have ${width}×${height} pixels`)
    }
    if (![x, y].every((place) => Number.isInteger(place) && Math.abs(place) <= MONITOR_MAX_PIXELS)) {
      throw monitorsError(`a monitor cannot stand at ${x},${y}`)
    }
    writer.u32(height).u32(width).u32(COLOR_DEPTH).i32(x).i32(y)
    nextX = x + width
  }
  return writer.finish()
}

/** `VDAgentFileXferStartMessage`: a key file that names the file and its size. */
export function writeFileStart(id: number, name: string, sizeBytes: number): Uint8Array {
  const text = `[vdagent-file-xfer]\nname=${keyFileText(name)}\nsize=${sizeBytes}\n`
  return new SpiceWriter().u32(id).text(text).u8(0).finish()
}

/** As GLib writes a string into a key file. */
function keyFileText(text: string): string {
  const escapes: Record<string, string> = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' }
  return text.replaceAll(/[\\\n\r\t]/g, (character) => escapes[character] as string).replace(/^ /, '\\s')
}

/** `VDAgentFileXferDataMessage` */
export function writeFileData(id: number, bytes: Uint8Array): Uint8Array {
  const writer = new SpiceWriter(12 + bytes.length)
  return writer.u32(id).u64(BigInt(bytes.length)).bytes(bytes).finish()
}

/** `VDAgentFileXferStatusMessage` */
export interface FileStatus {
  id: number
  status: keyof typeof FILE_STATUS
  /** What is told besides: `, 4096 bytes are free`. */
  detail: string
}

export function readFileStatus(reader: SpiceReader): FileStatus {
  const [id, number] = [reader.u32(), reader.u32()]
  const names = Object.keys(FILE_STATUS) as (keyof typeof FILE_STATUS)[]
  const status = names.find((name) => FILE_STATUS[name] === number)
  if (!status) throw reader.error(`a file transfer's status ${number}`)
  const spaceTold = status === 'notEnoughSpace' && reader.remaining >= 8
  return { id, status, detail: spaceTold ? `, ${reader.u64()} bytes are free` : '' }
}

export function writeFileStatus(id: number, status: keyof typeof FILE_STATUS): Uint8Array {
  return new SpiceWriter(8).u32(id).u32(FILE_STATUS[status]).finish()
}
