import type { WriteStream } from 'node:tty'

/** What the terminal reporter needs of a stream; `process.stdout` fits. */
export type TerminalStream = NodeJS.WritableStream &
  Partial<Pick<WriteStream, 'isTTY' | 'columns' | 'rows' | 'writableLength'>>

const ERASE_BELOW = '\u001b[0J'
const FRAME_MS = 100
/** Drawing may take one twentieth of the time, so that a terminal that takes bytes slowly does not hold up the run. */
const IDLE_SHARE = 20

/**
 * Lines that scroll away above a block that is redrawn in place. Without a live terminal there is no block
 * and no control sequence.
 */
export class TerminalScreen {
  readonly #stream: TerminalStream
  readonly #live: boolean
  readonly #frame: () => string[]
  #drawnRows = 0
  #timer: NodeJS.Timeout | undefined
  #idleUntil = 0

  /** @param frame the block's lines as they are now, none wider than the terminal. */
  constructor(stream: TerminalStream, live: boolean, frame: () => string[]) {
    this.#stream = stream
    this.#live = live
    this.#frame = frame
  }

  /** Starts redrawing; the timer does not keep the process alive. */
  start(): void {
    if (!this.#live || this.#timer) return
    this.#timer = setInterval(() => this.#draw(), FRAME_MS).unref()
  }

  /** Writes lines that stay. Never skipped. */
  print(lines: readonly string[]): void {
    if (lines.length === 0) return
    this.#stream.write(`${this.#erase()}${lines.join('\n')}\n`)
  }

  /** Removes the block for good. */
  stop(): void {
    if (!this.#timer) return
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#stream.write(this.#erase())
  }

  #draw(): void {
    // Asynchronous streams (pipes, Windows) queue instead of blocking: no new frame behind an unwritten one.
    if ((this.#stream.writableLength ?? 0) > 0 || performance.now() < this.#idleUntil) return
    const lines = this.#frame().slice(0, Math.max(1, (this.#stream.rows ?? 24) - 1))
    const erase = this.#erase()
    this.#drawnRows = lines.length
    const started = performance.now()
    this.#stream.write(`${erase}${lines.map((line) => `${line}\n`).join('')}`)
    const took = performance.now() - started
    this.#idleUntil = performance.now() + took * IDLE_SHARE
  }

  #erase(): string {
    const up = this.#drawnRows > 0 ? `\u001b[${this.#drawnRows}A\r${ERASE_BELOW}` : ''
    this.#drawnRows = 0
    return up
  }
}
