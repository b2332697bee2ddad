import { stateError } from '../../framework/core/errors.ts'
import type { ExpectedInput } from '../protocol/index.ts'
import { ExpectationMatcher, type ExpectationAccount, type SeenReport } from './expectation-matcher.ts'
import type { InputSource, SeenInput } from './input-source.ts'

/** Most entries of one expectation: more than the longest text anybody types. */
const ENTRIES_TOTAL_MAX = 1_000_000

/** The account with why it is incomplete, if it is. */
export type ExpectationResult = ExpectationAccount & { gap?: string }

/** One input action while it goes on: what it expects, compared with what a source sees. */
export class RunningExpectation {
  readonly #matcher: ExpectationMatcher
  readonly #source: InputSource
  readonly #report: (report: SeenReport) => void
  readonly #onGap: (reason: string) => void
  #stop: (() => void) | undefined
  #gap: string | undefined
  #flushing = false
  #over = false

  private constructor(source: InputSource, report: (report: SeenReport) => void, onGap: (reason: string) => void) {
    this.#source = source
    this.#matcher = new ExpectationMatcher(source.tolerance)
    this.#report = report
    this.#onGap = onGap
  }

  /**
   * Begins to watch. Once this resolves no input is missed, which the server is told by a first report.
   *
   * @throws `ATP_VERIFIER_DEVICE`
   */
  static async open(
    source: InputSource,
    report: (report: SeenReport) => void,
    onGap: (reason: string) => void,
  ): Promise<RunningExpectation> {
    const running = new RunningExpectation(source, report, onGap)
    running.#stop = await source.watch({
      onInput: (input) => running.#see(input),
      onGap: (reason) => running.#lost(reason),
    })
    return running
  }

  /** @throws `ATP_VERIFIER_BUSY` for more entries than an agent keeps. */
  add(entries: readonly ExpectedInput[], last: boolean): void {
    if (this.#matcher.count + entries.length > ENTRIES_TOTAL_MAX) {
      throw stateError('ATP_VERIFIER_BUSY', `one expectation has more than ${ENTRIES_TOTAL_MAX} entries`)
    }
    this.#source.expecting?.(entries)
    this.#matcher.add(entries, last)
    this.#flush()
  }

  /** Ends it; the last reports go out before this returns. */
  finish(): ExpectationResult {
    this.#over = true
    this.#stop?.()
    const account = this.#matcher.finish()
    this.#flush()
    return this.#gap === undefined ? account : { ...account, gap: this.#gap }
  }

  #see(input: SeenInput): void {
    if (this.#over) return
    this.#matcher.see(input)
    if (this.#flushing) return
    this.#flushing = true
    // What arrives in one piece is told in one message.
    queueMicrotask(() => this.#flush())
  }

  #lost(reason: string): void {
    if (this.#over) return
    this.#flush()
    this.#gap ??= reason
    this.#onGap(reason)
  }

  #flush(): void {
    this.#flushing = false
    for (const report of this.#matcher.take()) this.#report(report)
  }
}

/** Whether everything came as it was expected. */
export function isClean({ lost, unexpected, reordered, gap }: ExpectationResult): boolean {
  return gap === undefined && lost === 0 && unexpected === 0 && reordered === 0
}
