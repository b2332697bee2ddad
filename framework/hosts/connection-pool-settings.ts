import { configError } from '../core/index.ts'
import { POOL_STRATEGIES, type PoolStrategy } from './connection-pool-strategy.ts'

/** How many connections a host gets, and who gets which. */
export interface PoolSettings {
  /** Connections kept ready. Default 1. */
  min?: number
  /** Most connections at a time. Default 10. */
  max?: number
  /** Default `least-connections`. */
  strategy?: PoolStrategy
  /** After this time without a use a connection beyond `min` is closed. Default 300000. */
  idleTimeoutMs?: number
  /**
   * Uses at a time a connection is meant for: with more the pool grows. Once it is full, connections are shared by
   * more. Default 4, as many calls as one connection carries at once.
   */
  maxUsesPerConnection?: number
  /** How long {@link ConnectionPool.acquire} waits for a connection unless told otherwise. Default 30000. */
  acquireTimeoutMs?: number
}

/** Longest time a timer can hold. */
const LONGEST_MS = 2_147_483_647

/** Fills in the defaults. @throws `ATP_POOL_SETTINGS` for numbers no pool can have. */
export function poolSettings(settings: PoolSettings = {}): Required<PoolSettings> {
  const complete = {
    min: settings.min ?? 1,
    max: settings.max ?? Math.max(10, settings.min ?? 0),
    strategy: settings.strategy ?? 'least-connections',
    idleTimeoutMs: settings.idleTimeoutMs ?? 300_000,
    maxUsesPerConnection: settings.maxUsesPerConnection ?? 4,
    acquireTimeoutMs: settings.acquireTimeoutMs ?? 30_000,
  }
  const { min, max, strategy, maxUsesPerConnection } = complete
  must(Number.isInteger(min) && min >= 0, `min is ${min}, not a whole number from 0`)
  must(Number.isInteger(max) && max >= 1, `max is ${max}, not a whole number from 1`)
  must(min <= max, `min (${min}) is above max (${max})`)
  must(
    Number.isInteger(maxUsesPerConnection) && maxUsesPerConnection >= 1,
    `maxUsesPerConnection is ${maxUsesPerConnection}, not a whole number from 1`,
  )
  must(POOL_STRATEGIES.includes(strategy), `strategy is "${strategy}", not one of ${POOL_STRATEGIES.join(', ')}`)
  for (const name of ['idleTimeoutMs', 'acquireTimeoutMs'] as const)
    must(
      complete[name] >= 0 && complete[name] <= LONGEST_MS,
      `${name} is ${complete[name]}, not from 0 to ${LONGEST_MS}`,
    )
  return complete
}

function must(holds: boolean, problem: string): void {
  if (holds) return
  throw configError('ATP_POOL_SETTINGS', `no connection pool can be made like this: ${problem}`, {
    remedy: 'use whole numbers, `min` not above `max`; without settings there are 1 to 10 connections',
  })
}
