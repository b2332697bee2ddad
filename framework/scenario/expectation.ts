import { assertionError, pollUntil, timeoutError, isAtpError } from '../core/index.ts'
import type { StepContext } from './step-kind.ts'

/** What `stdout`, `contains` and their like may say: contained text, or one of three comparisons. */
export type TextExpectation = string | { equals?: string; contains?: string; matches?: string }

/** Why a text is not as expected; `undefined` when it is. One trailing newline of either side does not count for `equals`. */
export function textComplaint(what: string, actual: string, expected: TextExpectation): string | undefined {
  const { equals, contains, matches } = typeof expected === 'string' ? { contains: expected } : expected
  const shown = () => JSON.stringify(actual.length > 400 ? `${actual.slice(0, 400)}…` : actual)
  const trimmed = (text: string) => text.replace(/\r?\n$/, '')
  if (equals !== undefined && trimmed(actual) !== trimmed(equals))
    return `${what} is ${shown()}, expected ${JSON.stringify(equals)}`
  if (contains !== undefined && !actual.includes(contains))
    return `${what} is ${shown()}, which does not contain ${JSON.stringify(contains)}`
  if (matches !== undefined && !new RegExp(matches, 'u').test(actual))
    return `${what} is ${shown()}, which does not match /${matches}/`
  return undefined
}

/**
 * Asks until there is no complaint.
 *
 * @throws `ATP_SCENARIO_EXPECTATION` with the last complaint when time is up, or the error of the last probe if
 * it could not even look.
 */
export async function untilHolds(
  context: StepContext,
  what: string,
  probe: (signal: AbortSignal) => Promise<string | undefined>,
): Promise<void> {
  let complaint: string | undefined
  let failure: unknown
  try {
    await pollUntil(what, context.call, async (signal) => {
      failure = undefined
      try {
        complaint = await probe(signal)
      } catch (error) {
        failure = error
        throw error
      }
      return complaint === undefined ? true : undefined
    })
  } catch (error) {
    if (!isAtpError(error, 'ATP_TIMEOUT') || context.call.signal.aborted) throw error
    if (complaint === undefined) {
      throw timeoutError(
        'ATP_SCENARIO_EXPECTATION',
        `${what} could not be checked within ${context.call.timeoutMs} ms`,
        { cause: failure },
      )
    }
    throw assertionError(
      'ATP_SCENARIO_EXPECTATION',
      `${what} does not hold after ${context.call.timeoutMs} ms: ${complaint}`,
      { cause: failure },
    )
  }
}
