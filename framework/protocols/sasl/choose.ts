import { noMechanismError } from './errors.ts'
import type { SaslCredentials, SaslMechanism } from './mechanism.ts'
import { Plain } from './plain.ts'
import { ScramSha256 } from './scram.ts'

/**
 * The best mechanism of those a server offers: SCRAM-SHA-256, else PLAIN where `confidential` says that nobody but
 * the server can read what is sent. `server` names it in errors.
 *
 * @throws `ATP_SASL_NO_MECHANISM` with what was offered, `ATP_SASL_CREDENTIALS`.
 */
export function chooseMechanism(
  offered: readonly string[],
  credentials: SaslCredentials,
  { server, confidential }: { server: string; confidential: boolean },
): SaslMechanism {
  if (offered.includes('SCRAM-SHA-256')) return new ScramSha256(credentials, server)
  if (confidential && offered.includes('PLAIN')) return new Plain(credentials, server)
  throw noMechanismError(server, offered, confidential)
}
