import { createHash } from 'node:crypto'
import { addRedaction, type Secret } from '../core/index.ts'

/**
 * A password as the platform takes it: the MD5 of its UTF-8 form in 32 lower-case hexadecimal digits. It is as good
 * as the password there, hence hidden from logs like it.
 */
export function passwordHash(password: Secret): string {
  const hash = createHash('md5').update(password.reveal(), 'utf8').digest('hex')
  addRedaction(hash)
  return hash
}
