import { credentialsError } from './errors.ts'

// RFC 3454: C.1.2 becomes a space, B.1 vanishes.
const SPACES = /[\u00a0\u1680\u2000-\u200b\u202f\u205f\u3000]/g
const VANISHING = /[\u00ad\u034f\u1806\u180b-\u180d\u200c\u200d\u2060\ufe00-\ufe0f\ufeff]/gu
// C.2 controls, C.3 private use, C.4 non-characters, C.5 surrogates, C.6, C.7, C.8, C.9.
const PROHIBITED =
  /[\p{Cc}\p{Co}\p{Cs}\p{Noncharacter_Code_Point}\u06dd\u070f\u180e\u2028\u2029\u2061-\u2063\u{1d173}-\u{1d17a}\ufff9-\ufffd\u2ff0-\u2ffb\u0340\u0341\u200e\u200f\u202a-\u202e\u206a-\u206f\u{e0001}\u{e0020}-\u{e007f}]/u

/**
 * A user name or password as it is compared (SASLprep, RFC 4013). The rule on mixed writing directions is left to
 * the server: breaking it gives a refusal, nothing worse.
 *
 * @param what Names the text in the error, which never shows the text itself.
 * @throws `ATP_SASL_CREDENTIALS` for prohibited characters and for a text that is empty or becomes so.
 */
export function saslprep(what: string, text: string): string {
  if (!text.isWellFormed()) throw credentialsError(`the ${what} holds an unpaired surrogate`)
  // Prohibited before and after: some marks would vanish in the normal form, others only show there.
  const mapped = text.replaceAll(SPACES, ' ').replaceAll(VANISHING, '')
  const prepared = mapped.normalize('NFKC')
  if (PROHIBITED.test(mapped) || PROHIBITED.test(prepared))
    throw credentialsError(`the ${what} holds a character that is not allowed`)
  if (prepared === '') throw credentialsError(`the ${what} is empty`)
  return prepared
}
