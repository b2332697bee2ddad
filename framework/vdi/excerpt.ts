import { redact } from '../core/index.ts'

/** How much is searched for secrets: what is beyond is cut off anyway. */
const SEARCHED = 65_536

/**
 * The beginning of a text that came from elsewhere, for an error: without secrets, and without the part of one that a
 * cut would leave unrecognised.
 */
export function excerpt(text: string, length: number): string {
  const clean = redact(text.slice(0, SEARCHED))
  return clean.length > length ? `${clean.slice(0, length)}…` : clean
}
