/** Longest delay a timer can hold. */
const TIMER_MAX_MS = 0x7fff_ffff

interface Running {
  startedMs: number
  endsMs: number
  timer: NodeJS.Timeout
  end(due: boolean): void
}

/** The pause before another attempt. It can end before its time. */
export class RetryPause {
  #running: Running | undefined

  /** Resolves to true when the time is over, to false when the pause was ended or shortened. One at a time. */
  begin(delayMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const startedMs = performance.now()
      const end = (due: boolean) => {
        if (!this.#running) return
        clearTimeout(this.#running.timer)
        this.#running = undefined
        resolve(due)
      }
      const timer = setTimeout(() => end(true), Math.min(delayMs, TIMER_MAX_MS))
      this.#running = { startedMs, endsMs: startedMs + delayMs, timer, end }
    })
  }

  /** Lets a pause that is under way last that many milliseconds at most, counted from its beginning. */
  shorten(longestMs: number): void {
    const running = this.#running
    if (!running || running.startedMs + longestMs >= running.endsMs) return
    clearTimeout(running.timer)
    running.endsMs = running.startedMs + longestMs
    running.timer = setTimeout(() => running.end(false), Math.max(0, running.endsMs - performance.now()))
  }

  /** Ends a pause that is under way. */
  end(): void {
    this.#running?.end(false)
  }
}
