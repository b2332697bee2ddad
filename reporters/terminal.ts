import { type RunEvent, RunModel, type RunReporter, type RunSummary, summarise } from '../framework/evidence/index.ts'
import {
  type FooterLine,
  attemptLine,
  failureLines,
  liveLines,
  type Paint,
  painter,
  summaryLines,
} from './terminal-lines.ts'
import { TerminalScreen, type TerminalStream } from './terminal-screen.ts'

export interface TerminalReporterOptions {
  /** Default `process.stdout`. */
  stream?: TerminalStream
  /** Redraw progress in place. Default: the stream is a terminal, and neither CI, NO_COLOR nor TERM=dumb is set. */
  live?: boolean
  /** Asked when the run is over: what else belongs at the foot of the summary, such as where the report is. */
  footer?: () => readonly FooterLine[]
}

/**
 * For the person who watches: each test as it ends, failures at once with code frame, verdict and evidence, and a
 * summary. On a live terminal also hosts, running tests with their VMs, and counts. Close it after the reporters
 * whose files it is to name.
 */
export class TerminalReporter implements RunReporter {
  readonly #model = new RunModel()
  readonly #paint: Paint
  readonly #screen: TerminalScreen
  readonly #stream: TerminalStream
  readonly #footer: () => readonly FooterLine[]
  /** Counting walks the whole run; frames between two ends of tests need no new count. */
  #summary: RunSummary | undefined

  constructor(options: TerminalReporterOptions = {}) {
    this.#stream = options.stream ?? process.stdout
    this.#footer = options.footer ?? (() => [])
    this.#paint = painter(this.#stream)
    this.#screen = new TerminalScreen(this.#stream, options.live ?? isLive(this.#stream), () => this.#frame())
  }

  onEvent(raw: RunEvent): void {
    const event = this.#model.apply(raw)
    if (event.type === 'test.start' || event.type === 'test.end') this.#summary = undefined
    switch (event.type) {
      case 'run.start':
        this.#screen.start()
        break
      case 'notice': {
        const colour = ({ info: 'dim', warning: 'yellow', error: 'red' } as const)[event.level]
        this.#screen.print([this.#paint(colour, event.level === 'info' ? event.text : `${event.level}: ${event.text}`)])
        break
      }
      case 'host':
        if (event.state === 'down') {
          this.#screen.print([
            this.#paint('red', `host ${event.host} is down${event.detail ? `: ${event.detail}` : ''}`),
          ])
        }
        break
      case 'test.end': {
        const test = this.#model.tests.get(event.test)
        const attempt = this.#model.attempt(event.test, event.attempt)
        if (!test || !attempt) break
        const failed = event.status === 'failed' || event.status === 'broken'
        this.#screen.print([
          attemptLine(test, attempt, this.#paint),
          ...(failed ? failureLines(attempt, this.#paint) : []),
        ])
        break
      }
      case 'run.end':
        this.#screen.stop()
        break
    }
  }

  async close(): Promise<void> {
    this.#screen.stop()
    this.#screen.print(summaryLines(this.#model, summarise(this.#model), this.#footer(), this.#paint))
  }

  #frame(): string[] {
    const size = { columns: this.#stream.columns ?? 80, rows: this.#stream.rows ?? 24 }
    this.#summary ??= summarise(this.#model)
    return liveLines(this.#model, this.#summary, Date.now(), size, this.#paint)
  }
}

function isLive(stream: TerminalStream): boolean {
  const { CI, NO_COLOR, TERM } = process.env
  return stream.isTTY === true && !CI && !NO_COLOR && TERM !== 'dumb'
}
