import { inject } from 'vitest'
import type { HostObserver } from '../../hosts/observer.ts'
import type { MetricsRelay } from '../../metrics/relay-client.ts'

let relay: MetricsRelay | undefined

/** Where the run has metrics: connects this worker to the main process, once. */
export async function connectMetrics(): Promise<void> {
  const { metrics } = inject('atp')
  if (!metrics || relay) return
  // Loaded only where it is wanted: every worker waits for what the set-up file imports.
  const { MetricsRelay: Relay } = await import('../../metrics/relay-client.ts')
  relay = new Relay(metrics)
}

/** To be told what happens on this worker's connections to hosts; undefined where the run has no metrics. */
export function workerObserver(): HostObserver | undefined {
  return relay
}

/** Resolves when the main process has the figures so far: a worker may be ended at any time after a file. */
export async function flushMetrics(): Promise<void> {
  await relay?.flush()
}
