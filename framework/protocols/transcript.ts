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
  /** Memory of all entries together, about; the oldest go first. Default 512 KiB. */
  limitBytes?: number
  /** One entry. Default 4 KiB. */
  entryLimitBytes?: number
}

const LOGS = { qmp: logger('qmp'), qga: logger('qga'), 'virtio-serial': logger('virtio-serial') }
const OTHER_LOG = logger('protocols')
/** What an entry takes besides its text: the object, its numbers, the string's header. */
const ENTRY_BYTES = 112
const WITHHELD = '••• withheld: a secret was being entered'

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
  #entries: TranscriptEntry[] = []
  #bytes = 0
  #dropped = 0
  #withholding = 0

  constructor(options: TranscriptOptions = {}) {
    this.#limitBytes = options.limitBytes ?? 512 * 1024
    this.#entryLimitBytes = options.entryLimitBytes ?? 4096
  }

  record(vm: string, protocol: string, direction: 'out' | 'in', message: string | Uint8Array): void {
    const time = performance.timeOrigin + performance.now()
    const entry: TranscriptEntry = { time, vm, protocol, direction, text: WITHHELD }
    if (this.#withholding === 0) {
      const text = redact(typeof message === 'string' ? message : readable(message))
      const excess = text.length - this.#entryLimitBytes
      entry.text = excess > 0 ? text.slice(0, this.#entryLimitBytes) : text
      if (excess > 0) entry.cutBytes = excess
    }
    logOf(protocol).trace('{vm} {protocol} {direction} {text}', { vm, protocol, direction, text: entry.text })
    this.#entries.push(entry)
    this.#bytes += ENTRY_BYTES + entry.text.length
    if (this.#bytes > this.#limitBytes) this.#makeRoom()
  }

  // Frees a quarter at once: dropping entry by entry would copy the list for every message.
  #makeRoom(): void {
    let drop = 0
    while (this.#bytes > this.#limitBytes * 0.75 && drop < this.#entries.length - 1) {
      this.#bytes -= ENTRY_BYTES + (this.#entries[drop++] as TranscriptEntry).text.length
    }
    this.#entries = this.#entries.slice(drop)
    this.#dropped += drop
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
    return this.#entries.map((entry) => ({ ...entry, text: redact(entry.text) }))
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
