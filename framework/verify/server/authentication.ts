import { createHmac } from 'node:crypto'
import type { Secret } from '../../core/index.ts'
import { isSameSecret } from '../../core/same-secret.ts'

/** Why an agent may not stay. Goes to the agent; must not tell what would have been right. */
export interface Refusal {
  code: `ATP_VERIFIER_${string}`
  message: string
}

/** Whether an agent with this token may speak for this VM; undefined: it may. */
export type Authenticate = (vmId: string, token: string | undefined) => Refusal | undefined

/** A VM id as it is compared: agents read it from firmware, in either case. */
export function vmIdKey(vmId: string): string {
  return vmId.trim().toLowerCase()
}

const NO_TOKEN: Refusal = { code: 'ATP_VERIFIER_TOKEN', message: 'the token is not the right one' }
const NOT_ITS_VM: Refusal = { code: 'ATP_VERIFIER_VM', message: 'the token is not for this VM id' }

/**
 * Tokens of a configuration. A VM id with a token of its own takes no other, so that no VM that knows the common one
 * can speak for it.
 *
 * @param common for all VM ids that have none of their own
 * @param own by VM id
 */
export function configuredTokens(common: Secret | undefined, own: ReadonlyMap<string, Secret>): Authenticate {
  const byKey = new Map([...own].map(([vmId, token]) => [vmIdKey(vmId), token]))
  return (vmId, given) => {
    const right = byKey.get(vmIdKey(vmId)) ?? common
    if (right && given !== undefined && isSameSecret(given, right.reveal())) return undefined
    const known = [common, ...byKey.values()].filter((token) => token !== undefined)
    const isOthers = known.map((token) => isSameSecret(given ?? '', token.reveal())).includes(true)
    return isOthers ? NOT_ITS_VM : NO_TOKEN
  }
}

/** The token of one VM that follows from a key: each VM has its own, and nobody keeps a list. */
export function derivedToken(key: string, vmId: string): string {
  return createHmac('sha256', key).update(vmIdKey(vmId)).digest('base64url')
}

/** Accepts what {@link derivedToken} makes of the same key. */
export function derivedTokens(key: string): Authenticate {
  return (vmId, given) => (given !== undefined && isSameSecret(given, derivedToken(key, vmId)) ? undefined : NO_TOKEN)
}

/** For a virtio-serial port, which leads into one VM: what the agent says of itself must only agree. */
export function portOf(vmIds: readonly string[]): Authenticate {
  const keys = new Set(vmIds.map(vmIdKey))
  return (vmId) =>
    keys.has(vmIdKey(vmId))
      ? undefined
      : { code: 'ATP_VERIFIER_VM', message: `this port belongs to another VM, ${vmIds.join(' or ')}` }
}
