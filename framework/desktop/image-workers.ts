import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { Tinypool } from 'tinypool'
import { internalError, protocolError } from '../core/index.ts'
import type { ImageDecoder, ImageJob, ImageJobResult } from '../protocols/spice/index.ts'
import type { ImageJobAnswer } from './image-worker.ts'

const PROGRAM = new URL(`./image-worker.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`, import.meta.url)
/** One core is for the thread that draws. */
const MAX_THREADS = Math.min(4, Math.max(1, availableParallelism() - 1))
const IDLE_MS = 10_000

/**
 * Threads that decode images for all SPICE displays of this process. They begin with the first image, and end when
 * there was none for ten seconds, or when nobody has a share any more. They keep no process from ending.
 */
export class ImageWorkers {
  #pool: Tinypool | undefined
  readonly #shares = new Set<symbol>()
  readonly #program: URL

  /** @param program that the threads run. */
  constructor(program = PROGRAM) {
    this.#program = program
  }

  /** How many threads there are now. */
  get threads(): number {
    return this.#pool?.threads.length ?? 0
  }

  /** A share in the threads, until `release` is called. */
  share(): { decode: ImageDecoder; release: () => Promise<void> } {
    const share = Symbol('share in image workers')
    this.#shares.add(share)
    return {
      decode: (job) => this.#decode(job),
      release: async () => {
        if (!this.#shares.delete(share) || this.#shares.size > 0) return
        await this.#end(this.#pool)
      },
    }
  }

  async #decode(job: ImageJob): Promise<ImageJobResult> {
    const pool = (this.#pool ??= this.#newPool())
    // A copy, of these bytes alone: sent as they are, all the memory behind them would go along.
    const bytes = new Uint8Array(job.bytes)
    let answer: ImageJobAnswer
    try {
      answer = (await pool.run({ ...job, bytes }, { transferList: [bytes.buffer] })) as ImageJobAnswer
    } catch (cause) {
      void this.#end(pool)
      throw internalError('ATP_SPICE_DECODER', 'the thread that decodes images ended', { cause })
    }
    if (!('broken' in answer)) return answer
    const { message, context } = answer.broken
    throw protocolError('ATP_SPICE_IMAGE', message, { context })
  }

  #newPool(): Tinypool {
    const pool = new Tinypool({
      filename: fileURLToPath(this.#program),
      minThreads: 0,
      maxThreads: MAX_THREADS,
      idleTimeout: IDLE_MS,
    })
    // A thread that ends without a job of its own: no other one would take the jobs that wait.
    pool.on('error', () => void this.#end(pool))
    return pool
  }

  /** Ends threads, and with them the jobs that they have. */
  async #end(pool: Tinypool | undefined): Promise<void> {
    if (!pool || this.#pool !== pool) return
    this.#pool = undefined
    // What breaks in a thread that is ended is of no use to anybody.
    await pool.destroy().catch(() => {})
  }
}

/** Those of this process. */
export const imageWorkers = new ImageWorkers()
