import { closeSync, existsSync, openSync, readFileSync, renameSync, writeFileSync, writeSync } from 'node:fs'
import { logger, messageOf } from '../core/index.ts'

/** What is written, one JSON object a line. `intent` precedes the making of a VM, so that no crash hides one. */
export type JournalEvent =
  | { event: 'start'; pid: number; version: string }
  | { event: 'intent'; name: string; host: string; profile?: string; run: string; lease: string }
  | { event: 'created'; name: string; uuid: string }
  | { event: 'owned'; name: string; run: string; lease: string }
  | { event: 'leased'; lease: string; run: string; holder: string; vms: string[]; locks: string[] }
  | { event: 'released'; lease: string; reason: string }
  | { event: 'destroyed'; name: string }

/** A VM that was begun and not destroyed yet, as far as the journal knows. */
export interface JournalVm {
  name: string
  host: string
  profile?: string
  run: string
  lease: string
  /** Missing while only the intent is known. */
  uuid?: string
}

const COMPACT_BYTES = 4 * 1024 * 1024

/**
 * The broker's memory beyond its own life: an append-only file of JSON lines. Written synchronously: an entry is in
 * the kernel's hands when {@link Journal.write} returns and survives the death of the process.
 */
export class Journal {
  readonly path: string
  readonly #vms: Map<string, JournalVm>
  #file: number
  #sizeBytes = 0

  private constructor(path: string, vms: Map<string, JournalVm>) {
    this.path = path
    this.#vms = vms
    this.#file = this.#compact()
  }

  /** Opens or begins a journal; what an earlier broker left open is in {@link vms}. Lines cut off by a crash are skipped. */
  static open(path: string): Journal {
    return new Journal(path, Journal.read(path))
  }

  /** The VMs that are open in a journal file, without touching it. */
  static read(path: string): Map<string, JournalVm> {
    const vms = new Map<string, JournalVm>()
    if (!existsSync(path)) return vms
    for (const line of readFileSync(path, 'utf8').split('\n')) {
      const entry = parse(line)
      if (entry) fold(vms, entry)
    }
    return vms
  }

  /** VMs that are not destroyed, by name. */
  get vms(): ReadonlyMap<string, JournalVm> {
    return this.#vms
  }

  /** @throws the system's error when the line could not be written (disk full). */
  write(entry: JournalEvent): void {
    if (this.#sizeBytes > COMPACT_BYTES) {
      closeSync(this.#file)
      this.#file = this.#compact()
    }
    this.#append(this.#file, entry)
    fold(this.#vms, entry)
  }

  /** Like {@link write} for what has happened already: a full disk must not keep a VM from being destroyed. */
  note(entry: JournalEvent): void {
    try {
      this.write(entry)
    } catch (error) {
      fold(this.#vms, entry)
      logger('leases').error(`the journal could not be written: ${messageOf(error)}`)
    }
  }

  close(): void {
    closeSync(this.#file)
  }

  /** Rewrites the file with nothing but open VMs; opens it for appending. */
  #compact(): number {
    const next = `${this.path}.next`
    writeFileSync(next, '', { mode: 0o600 })
    const file = openSync(next, 'a', 0o600)
    this.#sizeBytes = 0
    for (const { uuid, ...vm } of this.#vms.values()) {
      this.#append(file, { event: 'intent', ...vm })
      if (uuid !== undefined) this.#append(file, { event: 'created', name: vm.name, uuid })
    }
    renameSync(next, this.path)
    return file
  }

  #append(file: number, entry: JournalEvent): void {
    const line = Buffer.from(`${JSON.stringify({ at: Date.now(), ...entry })}\n`)
    const written = writeSync(file, line)
    this.#sizeBytes += written
    if (written < line.length) {
      // End the torn line, so that the next entry is not lost with it.
      writeSync(file, '\n')
      throw new Error(`only ${written} of ${line.length} bytes could be written to ${this.path}`)
    }
  }
}

function parse(line: string): JournalEvent | undefined {
  try {
    return JSON.parse(line) as JournalEvent
  } catch {
    return undefined
  }
}

function fold(vms: Map<string, JournalVm>, entry: JournalEvent): void {
  if (entry.event === 'intent') {
    const { name, host, profile, run, lease } = entry
    vms.set(name, { name, host, run, lease, ...(profile === undefined ? {} : { profile }) })
  } else if (entry.event === 'destroyed') vms.delete(entry.name)
  else if (entry.event === 'created' || entry.event === 'owned') {
    const vm = vms.get(entry.name)
    if (!vm) return
    if (entry.event === 'created') vm.uuid = entry.uuid
    else Object.assign(vm, { run: entry.run, lease: entry.lease })
  }
}
