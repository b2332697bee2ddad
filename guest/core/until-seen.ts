import { interrupted } from '../../framework/core/deadline.ts'
import { unsupportedError } from '../../framework/core/errors.ts'
import type { InputSource, SeenInput } from './input-source.ts'

/**
 * Watches a source until `take` says that all was seen; resolves to the time of that input.
 *
 * @throws `ATP_VERIFIER_DEVICE` for a gap: what was not seen may have been there; `ATP_INTERRUPTED` on abort.
 */
export async function untilSeen(
  source: InputSource,
  signal: AbortSignal,
  take: (input: SeenInput) => boolean,
): Promise<bigint> {
  let stop: (() => void) | undefined
  let isOver = false
  let onAbort: (() => void) | undefined
  try {
    return await new Promise<bigint>((resolve, reject) => {
      onAbort = () => reject(interrupted('a verification', signal))
      if (signal.aborted) return onAbort()
      signal.addEventListener('abort', onAbort, { once: true })
      const sink = {
        onInput: (input: SeenInput) => {
          if (take(input)) resolve(input.guestNs)
        },
        onGap: (reason: string) =>
          reject(unsupportedError('ATP_VERIFIER_DEVICE', `the input could not be observed: ${reason}`)),
      }
      source.watch(sink).then((ending) => {
        stop = ending
        if (isOver) ending()
      }, reject)
    })
  } finally {
    isOver = true
    stop?.()
    if (onAbort) signal.removeEventListener('abort', onAbort)
  }
}
