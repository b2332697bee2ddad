import { isAtpError, messageOf, configError } from '../../framework/core/errors.ts'
import { encodeMessage, type VerifyResult } from '../protocol/index.ts'
import type { Verification } from './verifier.ts'

/** A verification that failed with an error. */
export function failed(error: unknown): Verification {
  return { verified: false, details: { error: messageOf(error), ...(isAtpError(error) && { code: error.code }) } }
}

/** A result that can surely be sent, whatever a plug-in's verifier returned. */
export function makeResult(eventId: string, latencyMs: number, verification: Verification): VerifyResult {
  const shell = {
    v: 1 as const,
    event_id: eventId,
    timestamp: Date.now(),
    latency_ms: Math.max(0, Math.round(latencyMs * 1000) / 1000),
  }
  try {
    const { verified, details } = verification
    if (typeof verified !== 'boolean' || typeof details !== 'object' || details === null || Array.isArray(details)) {
      throw configError('ATP_VERIFIER_PLUGIN', 'the verifier returned no { verified, details }')
    }
    const result: VerifyResult = { ...shell, verified, details }
    encodeMessage(result)
    return result
  } catch (error) {
    return { ...shell, ...failed(error) }
  }
}
