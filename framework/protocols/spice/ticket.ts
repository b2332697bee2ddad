import { ticketError } from './errors.ts'

/** `SPICE_MAX_PASSWORD_LENGTH` */
const PASSWORD_MAX_BYTES = 60

/**
 * The password as the server wants it: with a final NUL, encrypted by RSA-OAEP (SHA-1) with the key of this link.
 *
 * @param publicKey DER SPKI.
 * @throws `ATP_SPICE_TICKET` for a password that no ticket can hold.
 */
export async function encryptTicket(publicKey: Uint8Array, password: string): Promise<Uint8Array> {
  const bytes = new TextEncoder().encode(`${password}\0`)
  if (bytes.length - 1 > PASSWORD_MAX_BYTES)
    throw ticketError(`has ${bytes.length - 1} bytes, at most ${PASSWORD_MAX_BYTES} fit`)
  if (bytes.indexOf(0) < bytes.length - 1) throw ticketError('holds a NUL character')
  const algorithm = { name: 'RSA-OAEP', hash: 'SHA-1' }
  const key = await crypto.subtle.importKey('spki', Uint8Array.from(publicKey), algorithm, false, ['encrypt'])
  return new Uint8Array(await crypto.subtle.encrypt(algorithm, key, bytes))
}
