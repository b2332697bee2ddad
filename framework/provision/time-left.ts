import type { CallOptions } from '../core/index.ts'

/** Bounds of the next call of several that share one limit. */
export function timeLeft(
  timeoutMs: number,
  signal: AbortSignal | undefined,
): () => Required<Pick<CallOptions, 'timeoutMs'>> & CallOptions {
  const endMs = performance.now() + timeoutMs
  return () => ({ signal, timeoutMs: Math.max(1, Math.ceil(endMs - performance.now())) })
}
