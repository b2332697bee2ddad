/** Where a call came from, for errors that arise where the stack no longer leads back to it. */
export interface CallSite {
  /** Appends the frames of the call to the error's stack, unless they are there. Returns the error. */
  mark<T>(error: T): T
}

/**
 * Remembers the stack above `inner`. V8 follows `await` back to the caller, but not timers, sockets, queues and
 * `new Promise`: an error from there would not name the line of the spec.
 */
export function callSite(inner: (...args: never[]) => unknown): CallSite {
  const called: { stack?: string } = {}
  Error.captureStackTrace(called, inner)
  return {
    mark(error) {
      if (!(error instanceof Error) || typeof error.stack !== 'string') return error
      const known = new Set(error.stack.split('\n'))
      const frames = called.stack?.split('\n').filter((line) => /^ +at /.test(line) && !known.has(line)) ?? []
      if (frames.length > 0) error.stack = [error.stack, ...frames].join('\n')
      return error
    },
  }
}
