import { isAtpError, type AtpError } from '../../../framework/core/index.ts'
import type { Delivery } from '../../../framework/input/api.ts'

/** The guest saw something else than what was sent. */
export const DAMAGED = { code: 'ATP_INPUT_DAMAGED', verdict: 'product' }
/** Nothing can be said. */
export const IMPOSSIBLE = { code: 'ATP_VERIFY_IMPOSSIBLE', verdict: 'infrastructure' }

/** The framework's error that the work rejects with; throws when there is none. */
export async function errorOf(work: Promise<unknown>): Promise<AtpError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (isAtpError(error)) return error
  throw new Error('no framework error was thrown', { cause: error })
}

/** The account in an error of damaged input. */
export function deliveryOf(error: AtpError): Delivery {
  return error.context['delivery'] as Delivery
}
