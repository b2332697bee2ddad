import { credentialsError } from './errors.ts'

/**
 * A user name or password, to be sent byte for byte as it was written. RFC 4013 wants it normalised; Cyrus SASL, the
 * library behind libvirt, SPICE and QEMU, does not do so and refuses whoever does. Most texts, all of ASCII and the
 * Chinese characters in use, are the same either way.
 *
 * @param what Names the text in the error, which never shows the text itself.
 * @throws `ATP_SASL_CREDENTIALS` for a text that is empty or holds a control character or half a character.
 */
export function credential(what: string, text: string): string {
  if (text === '') throw credentialsError(`the ${what} is empty`)
  if (/\p{Cc}/u.test(text)) throw credentialsError(`the ${what} holds a control character, perhaps a line break`)
  if (!text.isWellFormed()) throw credentialsError(`the ${what} holds an unpaired surrogate`)
  return text
}
