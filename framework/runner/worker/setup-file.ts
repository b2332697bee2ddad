/**
 * Loaded by every worker before its specs (Vitest `setupFiles`).
 *
 * The main process owns the signals: a Ctrl-C reaches the whole process group, but workers must live until
 * their tests have been cancelled and torn down. When the main process dies, the IPC channel closes and the
 * worker ends at once; the kernel closes its broker socket and the broker destroys its VMs.
 */
import { afterAll, beforeEach, expect, inject } from 'vitest'
import { configureLogging } from '../../core/index.ts'
import { connectMetrics, flushMetrics } from './metrics.ts'
import '../../../fixtures/matchers.ts'

const STACK_FRAMES = 50
const MARK = Symbol.for('ocloudview.atp.worker')
const process_ = process as NodeJS.Process & { [MARK]?: boolean; reallyExit(code: number): never }

// Without isolation this file runs once per spec file in the same process.
if (!process_[MARK]) {
  process_[MARK] = true
  // The way from a protocol's error up to the line of the spec is long.
  Error.stackTraceLimit = Math.max(Error.stackTraceLimit, STACK_FRAMES)
  process.on('SIGINT', () => {})
  process.on('SIGTERM', () => {})
  process.on('disconnect', () => process_.reallyExit(1))
  await configureLogging()
  await connectMetrics()
  const { plugins } = inject('atp')
  // Loaded only where there are any: it brings all step kinds with it.
  if (plugins.length > 0) {
    const { loadPlugins } = await import('../../plugins/index.ts')
    await loadPlugins(plugins, (matchers) => expect.extend(matchers as never))
  }
}

if (inject('atp').metrics) afterAll(flushMetrics)

if (inject('atp').allure) {
  const { takeAllureCalls } = await import('./allure-runtime.ts')
  // Before each test: the set-up of allure-vitest, where a spec imports it, takes them for itself at each file.
  beforeEach(takeAllureCalls)
}
