import { randomUUID } from 'node:crypto'
import {
  AtpError,
  configError,
  logger,
  messageOf,
  stateError,
  unsupportedError,
  type AtpErrorOptions,
} from '../core/index.ts'
import type { CheckpointStore, VmProvider, VmRequest } from './api.ts'
import type { Session } from './lease-book.ts'

/** Saved machines a broker keeps at once, of all its runs: each takes as much of a disk as a guest uses of its memory. */
const MOST_CHECKPOINTS = 16

const log = logger('leases')

/** Somebody who asked for a checkpoint: a call of a client. */
interface Claimant {
  session: Session
  call: number
  resolve(answer: { ready: boolean }): void
  reject(error: Error): void
}

interface Entry {
  readonly run: string
  readonly key: string
  state: 'making' | 'ready' | 'failed'
  /** Who makes it. */
  maker: Claimant
  waiting: Claimant[]
  error?: AtpError
  /** Id of what is stored, once it is `ready`. */
  stored?: string
}

/**
 * Which run has which checkpoints. The first client that asks for one makes it; others wait; if it gives up, or its
 * connection ends, the next one makes it. A failure is kept: all who need the checkpoint are told the same.
 */
export class Checkpoints {
  readonly #provider: Pick<VmProvider, 'id' | 'checkpoints'>
  readonly #entries = new Map<string, Entry>()
  /** Ids of what is stored, or being stored. */
  readonly #ids = new Set<string>()

  constructor(provider: Pick<VmProvider, 'id' | 'checkpoints'>) {
    this.#provider = provider
  }

  get empty(): boolean {
    return this.#entries.size === 0
  }

  /** Whether a stored checkpoint is one of this book. */
  knows(id: string): boolean {
    return this.#ids.has(id)
  }

  /**
   * Resolves to `ready`, or to `ready: false` for the one who has to make it.
   *
   * @throws `ATP_CHECKPOINT_UNSUPPORTED`, `ATP_CHECKPOINT_LIMIT`; the error it could not be made for.
   */
  claim(session: Session, call: number, key: string): Promise<{ ready: boolean }> {
    this.#store()
    return new Promise((resolve, reject) => {
      const claimant = { session, call, resolve, reject }
      const place = placeOf(session.run, key)
      const known = this.#entries.get(place)
      if (known?.state === 'ready') return resolve({ ready: true })
      if (known?.state === 'failed') return reject(again(known.error as AtpError))
      if (known) return void known.waiting.push(claimant)
      const kept = [...this.#entries.values()].filter(({ state }) => state !== 'failed')
      if (kept.length >= MOST_CHECKPOINTS) {
        throw configError(
          'ATP_CHECKPOINT_LIMIT',
          `"${key}" would be more than ${MOST_CHECKPOINTS} checkpoints at once`,
          {
            remedy: 'prepare less different machines in one run',
          },
        )
      }
      this.#entries.set(place, { run: session.run, key, state: 'making', maker: claimant, waiting: [] })
      resolve({ ready: false })
    })
  }

  /**
   * Has `save` keep the machine of a claim under an id.
   *
   * @returns its size in bytes.
   * @throws `ATP_CHECKPOINT_MISSING` if the claim is nobody's, what `save` throws; the claim goes on then.
   */
  async keep(
    session: Session,
    claim: number,
    save: (store: CheckpointStore, id: string) => Promise<number>,
  ): Promise<number> {
    const entry = this.#madeBy(session, claim)
    if (!entry) throw stateError('ATP_CHECKPOINT_MISSING', `nobody waits for the checkpoint of call ${claim}`)
    // An id of its own: whoever tries again must not meet what this attempt leaves.
    const id = randomUUID()
    this.#ids.add(id)
    let sizeBytes: number
    try {
      sizeBytes = await save(this.#store(), id)
    } catch (error) {
      this.#ids.delete(id)
      throw error
    }
    if (this.#madeBy(session, claim) !== entry) {
      // Its run ended, or its maker did.
      await this.#remove(id)
      return sizeBytes
    }
    Object.assign(entry, { state: 'ready', stored: id })
    for (const { resolve } of entry.waiting.splice(0)) resolve({ ready: true })
    return sizeBytes
  }

  /** It could not be made. Without an error the next one who waits tries. Claims that are over already are ignored. */
  failed(session: Session, claim: number, error?: AtpError): void {
    const entry = this.#madeBy(session, claim)
    if (!entry || !error) return this.#giveUp((one) => one.session === session && one.call === claim)
    entry.state = 'failed'
    entry.error = error
    for (const { reject } of entry.waiting.splice(0)) reject(again(error))
  }

  /** A client is gone. */
  leave(session: Session): void {
    this.#giveUp((claimant) => claimant.session === session)
  }

  /** Requests with the ids of what is stored instead of the keys of a run. @throws `ATP_CHECKPOINT_MISSING` */
  resolve(run: string, vms: readonly VmRequest[]): VmRequest[] {
    return vms.map((vm) => {
      const key = vm?.checkpoint
      if (typeof key !== 'string') return vm
      const stored = this.#entries.get(placeOf(run, key))?.stored
      if (stored !== undefined) return { ...vm, checkpoint: stored }
      throw stateError('ATP_CHECKPOINT_MISSING', `the run ${run} has no checkpoint "${key}"`, { context: { key } })
    })
  }

  /** Forgets and removes the checkpoints of a run, or all. What cannot be removed is swept by the next broker. */
  async forget(run?: string): Promise<void> {
    const gone = [...this.#entries.values()].filter((entry) => run === undefined || entry.run === run)
    for (const { run: of, key, waiting } of gone) {
      this.#entries.delete(placeOf(of, key))
      for (const { reject } of waiting) reject(stateError('ATP_CHECKPOINT_MISSING', `the run of "${key}" is over`))
    }
    await Promise.all(gone.flatMap(({ stored }) => (stored === undefined ? [] : [this.#remove(stored)])))
  }

  /** @throws `ATP_CHECKPOINT_UNSUPPORTED` */
  #store(): CheckpointStore {
    const { id, checkpoints } = this.#provider
    if (checkpoints) return checkpoints
    throw unsupportedError('ATP_CHECKPOINT_UNSUPPORTED', `the provider "${id}" cannot keep the state of machines`, {
      remedy: 'prepare the machine in the test, or in a fixture of your own',
    })
  }

  async #remove(id: string): Promise<void> {
    try {
      await this.#store().remove(id)
      this.#ids.delete(id)
    } catch (error) {
      log.error(`the checkpoint ${id} could not be removed: ${messageOf(error)}`)
    }
  }

  #madeBy(session: Session, claim: number): Entry | undefined {
    return [...this.#entries.values()].find(
      ({ state, maker }) => state === 'making' && maker.session === session && maker.call === claim,
    )
  }

  #giveUp(which: (claimant: Claimant) => boolean): void {
    for (const entry of this.#entries.values()) {
      entry.waiting = entry.waiting.filter((claimant) => !which(claimant))
      if (entry.state !== 'making' || !which(entry.maker)) continue
      const next = entry.waiting.shift()
      if (!next) {
        this.#entries.delete(placeOf(entry.run, entry.key))
        continue
      }
      entry.maker = next
      next.resolve({ ready: false })
    }
  }
}

const placeOf = (run: string, key: string) => `${run}\0${key}`

/** An error of its own for each that is told. */
function again({ branch, code, message, context, retryable, verdict, cause }: AtpError): AtpError {
  const options: AtpErrorOptions = { context, retryable, verdict, cause }
  return new AtpError(branch, code as `ATP_${string}`, message, options)
}
