import { connect, type Socket } from 'node:net'
import { logger, messageOf } from '../core/index.ts'
import type { HostObserver, ObservedLink, PoolCount } from '../hosts/observer.ts'
import type { SettledCall } from '../protocols/libvirt/call-observer.ts'
import { relayFrame, type RelayRecord } from './relay-record.ts'

/** Where a run's main process takes the figures of its workers. */
export interface RelayAddress {
  /** Path of a Unix socket; one that begins with NUL is a name in Linux' abstract namespace. */
  path: string
  /** Said first: other users of the machine can connect to the name as well. */
  key: string
}

const FLUSH_MS = 250
const BATCH_RECORDS = 500
/** What a main process that does not read may cost a worker. */
const MAX_UNSENT_BYTES = 4 * 1024 * 1024
const log = logger('metrics')

/**
 * Passes on to the main process what happens on a worker's connections, in batches. It never disturbs the work:
 * when the main process is gone or does not read, figures are dropped, which is logged once.
 */
export class MetricsRelay implements HostObserver {
  readonly #address: RelayAddress
  /** Connected with the first figures: many workers have none for a while. */
  #socket: Socket | undefined
  #records: RelayRecord[] = []
  #timer: NodeJS.Timeout | undefined
  #dropping = false

  constructor(address: RelayAddress) {
    this.#address = address
  }

  linkOpened({ host, role }: ObservedLink, how: { durationMs: number; reconnect: boolean }): void {
    this.#add(['opened', host, role, rounded(how.durationMs), how.reconnect])
  }

  linkClosed({ host, role }: ObservedLink, reason: Error | undefined): void {
    this.#add(['closed', host, role, reason !== undefined])
  }

  stateChanged({ host, from, to }: { host: string; from: string; to: string }): void {
    this.#add(['state', host, from, to])
  }

  callSettled({ host, role }: ObservedLink, call: SettledCall): void {
    const { operation, outcome, durationMs, queuedMs } = call
    this.#add(['call', host, role, operation, outcome, rounded(durationMs), rounded(queuedMs)])
  }

  poolCounted(host: string, what: PoolCount, by: number): void {
    this.#add(['pool', host, what, by])
  }

  poolTimed(host: string, what: 'acquire' | 'connect', durationMs: number): void {
    this.#add([what, host, rounded(durationMs)])
  }

  /** Resolves when everything so far has left this process, or is lost. */
  flush(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#dropping || (!this.#socket && this.#records.length === 0)) return Promise.resolve()
    const socket = (this.#socket ??= this.#connect())
    if (socket.writableLength > MAX_UNSENT_BYTES) {
      this.#drop('the main process does not read')
      return Promise.resolve()
    }
    // An empty batch, too, waits for those before it.
    const batch = JSON.stringify(this.#records)
    this.#records = []
    return new Promise((resolve) => socket.write(relayFrame(batch), () => resolve()))
  }

  #connect(): Socket {
    const socket = connect(this.#address.path)
    // Tests must not wait for figures.
    socket.unref()
    socket.on('error', (error) => this.#drop(messageOf(error)))
    socket.on('close', () => this.#drop('the main process has closed the connection'))
    socket.write(relayFrame(this.#address.key))
    return socket
  }

  #add(record: RelayRecord): void {
    if (this.#dropping) return
    this.#records.push(record)
    if (this.#records.length >= BATCH_RECORDS) void this.flush()
    else this.#timer ??= setTimeout(() => void this.flush(), FLUSH_MS).unref()
  }

  #drop(reason: string): void {
    if (this.#dropping) return
    this.#dropping = true
    this.#records = []
    this.#socket?.destroy()
    log.warn('figures of this worker are missing from the metrics from now on: {reason}', { reason })
  }
}

/** Microseconds are enough, and short in text. */
function rounded(ms: number): number {
  return Math.round(ms * 1000) / 1000
}
