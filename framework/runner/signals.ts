export interface OwnedSignals {
  /** The first signal that arrived. */
  readonly received: 'SIGINT' | 'SIGTERM' | undefined
  /** Resolves at the first signal. */
  readonly first: Promise<void>
  /** Aborted at the first signal. */
  readonly aborted: AbortSignal
  /** Takes the signals away from listeners that came later: Vitest's end the process without any teardown. */
  takeBack(): void
  /** Called at the first signal, at once if it has arrived already. */
  onFirst(action: () => void): void
  release(): void
}

/**
 * Takes SIGINT and SIGTERM (SIGHUP counts as SIGTERM) away from everybody else: the first one cancels the run, so
 * that tests are torn down and reports written; the second one ends the process at once, and the broker cleans up.
 */
export function ownSignals(): OwnedSignals {
  let received: 'SIGINT' | 'SIGTERM' | undefined
  let action: (() => void) | undefined
  let resolveFirst!: () => void
  const first = new Promise<void>((resolve) => (resolveFirst = resolve))
  const abort = new AbortController()
  const on = (name: 'SIGINT' | 'SIGTERM') => () => {
    if (received) process.exit(received === 'SIGINT' ? 130 : 143)
    received = name
    process.stderr.write('\natp: interrupted; tearing down (once more to stop at once)\n')
    abort.abort(new Error(name))
    resolveFirst()
    action?.()
  }
  const handlers = { SIGINT: on('SIGINT'), SIGTERM: on('SIGTERM'), SIGHUP: on('SIGTERM') } as const
  const take = () => {
    for (const [name, handler] of Object.entries(handlers)) {
      process.removeAllListeners(name)
      process.on(name, handler)
    }
  }
  take()
  return {
    get received() {
      return received
    },
    first,
    aborted: abort.signal,
    takeBack: take,
    onFirst(run) {
      action = run
      if (received) run()
    },
    release() {
      for (const [name, handler] of Object.entries(handlers)) process.off(name, handler)
    },
  }
}
