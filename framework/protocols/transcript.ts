import { logger, redact } from '../core/index.ts'

/** One message as it crossed the border of this process. */
export interface TranscriptEntry {
  /** Milliseconds since the epoch, with fractions. */
  time: number
  vm: string
  /** `qmp`, `qga`, `virtio-serial:<name>` */
  protocol: string
  /** `out`: from here to the peer. */
  direction: 'out' | 'in'
  /** The message, secrets masked, cut after the entry limit. */
  text: string
  /** Bytes that were cut off. */
  cutBytes?: number
}

export interface TranscriptOptions {
  /** Memory of all entries together; the oldest go first. Default 256 KiB. */
  limitBytes?: number
  /** One entry. Default 4 KiB. */
  entryLimitBytes?: number
}

const LOGS = { qmp: logger('qmp'), qga: logger('qga'), 'virtio-serial': logger('virtio-serial') }
const OTHER_LOG = logger('protocols')
const WITHHELD = '••• withheld: a secret was being entered'
/** Before each entry's text: time (f64), VM, protocol, direction (u16 each), cut bytes and length (u32 each). */
const HEAD_BYTES = 22
/** Of so many parts a transcript is made; the oldest goes as a whole. */
const BLOCKS = 16

/** Entries one after the other, as bytes. */
interface Block {
  bytes: Buffer
  usedBytes: number
  entries: number
}

/**
 * Records both directions of a VM's protocol sessions, bounded and redacted, so that a report can show what
 * was said. Given to protocol clients as their `transcript` option; off unless given. `ATP_LOG=protocols=trace`,
 * or one protocol's name, prints the same while it happens.
 *
 * Entries are redacted when recorded, before they are cut, so that no half of a secret is left at the cut, and
 * once more when rendered, for secrets that became known in between.
 */
export class TranscriptRecorder {
  readonly #limitBytes: number
  readonly #entryLimitBytes: number
  // Bytes outside of V8's heap: thousands of objects that come and go a minute later would make it grow and pause.
  readonly #blocks: Block[] = []
  readonly #names: string[] = []
  #bytes = 0
  #dropped = 0
  #withholding = 0

  constructor(options: TranscriptOptions = {}) {
    this.#limitBytes = options.limitBytes ?? 256 * 1024
    this.#entryLimitBytes = options.entryLimitBytes ?? 4096
  }

  record(vm: string, protocol: string, direction: 'out' | 'in', message: string | Uint8Array): void {
    let text = WITHHELD
    let cutBytes = 0
    if (this.#withholding === 0) {
      text = redact(typeof message === 'string' ? message : readable(message))
      cutBytes = Math.max(0, text.length - this.#entryLimitBytes)
      if (cutBytes > 0) text = text.slice(0, this.#entryLimitBytes)
    }
    const log = logOf(protocol)
    if (log.isEnabledFor('trace')) log.trace('{vm} {protocol} {direction} {text}', { vm, protocol, direction, text })
    const textBytes = Buffer.byteLength(text)
    const block = this.#room(HEAD_BYTES + textBytes)
    const { bytes, usedBytes: at } = block
    bytes.writeDoubleBE(performance.timeOrigin + performance.now(), at)
    bytes.writeUInt16BE(this.#name(vm), at + 8)
    bytes.writeUInt16BE(this.#name(protocol), at + 10)
    bytes.writeUInt16BE(direction === 'out' ? 0 : 1, at + 12)
    bytes.writeUInt32BE(cutBytes, at + 14)
    bytes.writeUInt32BE(textBytes, at + 18)
    bytes.write(text, at + HEAD_BYTES, textBytes, 'utf8')
    block.usedBytes += HEAD_BYTES + textBytes
    block.entries++
  }

  /** A block with that much room; makes it where there is none, and room for it. */
  #room(sizeBytes: number): Block {
    const last = this.#blocks.at(-1)
    if (last && last.bytes.length - last.usedBytes >= sizeBytes) return last
    const bytes = Buffer.allocUnsafeSlow(Math.max(sizeBytes, Math.floor(this.#limitBytes / BLOCKS)))
    const block = { bytes, usedBytes: 0, entries: 0 }
    this.#blocks.push(block)
    this.#bytes += bytes.length
    while (this.#bytes > this.#limitBytes && this.#blocks.length > 1) {
      const oldest = this.#blocks.shift() as Block
      this.#bytes -= oldest.bytes.length
      this.#dropped += oldest.entries
    }
    return block
  }

  #name(name: string): number {
    const at = this.#names.indexOf(name)
    return at >= 0 ? at : this.#names.push(name) - 1
  }

  /**
   * Records that messages were exchanged but not their content, until the returned function is called.
   * For secrets entered as keystrokes, which no text search can recognise.
   */
  withhold(): () => void {
    this.#withholding++
    let ended = false
    return () => {
      if (!ended) this.#withholding--
      ended = true
    }
  }

  /** Entries that made room for newer ones. */
  get dropped(): number {
    return this.#dropped
  }

  get entries(): readonly TranscriptEntry[] {
    return this.#blocks.flatMap((block) => this.#read(block))
  }

  #read({ bytes, usedBytes }: Block): TranscriptEntry[] {
    const entries: TranscriptEntry[] = []
    for (let at = 0; at < usedBytes;) {
      const cutBytes = bytes.readUInt32BE(at + 14)
      const start = at + HEAD_BYTES
      const end = start + bytes.readUInt32BE(at + 18)
      entries.push({
        time: bytes.readDoubleBE(at),
        vm: this.#names[bytes.readUInt16BE(at + 8)] as string,
        protocol: this.#names[bytes.readUInt16BE(at + 10)] as string,
        direction: bytes.readUInt16BE(at + 12) === 0 ? 'out' : 'in',
        text: redact(bytes.toString('utf8', start, end)),
        ...(cutBytes > 0 ? { cutBytes } : {}),
      })
      at = end
    }
    return entries
  }

  /** One JSON object a line, oldest first; a first line `{"dropped":n}` if entries are missing. */
  toJsonLines(): string {
    const lines = this.entries.map((entry) => JSON.stringify(entry))
    if (this.#dropped > 0) lines.unshift(JSON.stringify({ dropped: this.#dropped }))
    return lines.map((line) => `${line}\n`).join('')
  }
}

function logOf(protocol: string): typeof OTHER_LOG {
  const name = protocol.split(':', 1)[0] as string
  return LOGS[name as keyof typeof LOGS] ?? OTHER_LOG
}

/** Text if the bytes are valid UTF-8, else their number and hexadecimal form. */
function readable(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return `<${bytes.byteLength} bytes> ${Buffer.from(bytes.subarray(0, 1024)).toString('hex')}`
  }
}
