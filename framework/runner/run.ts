import { resolve } from 'node:path'
import { BaseSequencer, createVitest, type CliOptions, type TestSpecification, type Vitest } from 'vitest/node'
import { configError, isAtpError, messageOf } from '../core/index.ts'
import type { ResolvedConfig } from '../config/index.ts'
import type { RelayAddress } from '../metrics/relay-client.ts'
import { toErrorRecord } from '../evidence/index.ts'
import type { ErrorRecord } from '../evidence/events.ts'
import { VitestAdapter } from './adapter.ts'
import { EventHub } from './event-hub.ts'
import { EXIT, exitCodeOf, isUsageError } from './exit-code.ts'
import { scenarioFilters, selectionOf } from './filters.ts'
import type { RunMetrics } from './metrics.ts'
import { atp, contextOf, doorsFor, workerCount } from './plugin.ts'
import { newRelayAddress } from './relay-address.ts'
import { newRunId } from './run-id.ts'
import { openReporters, type ReporterChoice } from './reporting.ts'
import { startSession, type Session, type SessionNotice } from './session.ts'
import { ownSignals } from './signals.ts'

export interface RunOptions {
  /** Parts of paths, or `file:line`. */
  filters?: string[]
  watch?: boolean
  namePattern?: string | undefined
  /** Vitest's tag expression: `smoke and not slow`. */
  tags?: string | undefined
  retry?: number | undefined
  bail?: number | undefined
  workers?: number | undefined
  /** `i/n` */
  shard?: string | undefined
  reporter?: ReporterChoice
  json?: string | undefined
  junit?: string | undefined
  allure?: boolean
  evidence?: string | undefined
  /** Writes the expected pictures of screens instead of comparing them. */
  updateScreens?: boolean
  failOnFlaky?: boolean
  passWithNoTests?: boolean
}

/**
 * Runs specs and reports them; resolves to the exit code. Never leaves a VM behind: the broker destroys what the
 * run leased even if this process does not live to ask for it.
 */
export async function runTests(base: ResolvedConfig, options: RunOptions): Promise<number> {
  const config = withOptions(base, options)
  const run = newRunId()
  const started = performance.now()
  const reporters = openReporters(config, options.reporter ?? 'auto')
  const hub = new EventHub(reporters.all)
  const isSelected = selectionOf(options.filters ?? [], options.namePattern, options.tags)
  const adapter = new VitestAdapter(config.root, (event) => hub.emit(event), isSelected)
  const signals = ownSignals()
  let session: Session | undefined
  let vitest: Vitest | undefined
  let metrics: RunMetrics | undefined
  let failure: unknown
  let leaked = 0
  try {
    // All take a while and none needs another.
    const notify = (notice: SessionNotice) => adapter.send({ type: 'notice', ...notice })
    const address = config.metrics && newRelayAddress()
    const doors = { metrics: address, ...doorsFor(config), updateScreens: options.updateScreens ?? false }
    const opening = startSession(config, run, notify, { signal: signals.aborted, ...doors })
    const serving = address && serveMetrics(config, run, address, notify)
    const creating = createVitest(vitestOptions(config, options, adapter), {
      root: config.root,
      plugins: atp({}, { config, run, doors }),
    })
    creating.then(
      () => signals.takeBack(),
      () => {},
    )
    const [opened, created, served] = await Promise.allSettled([opening, creating, serving])
    if (opened.status === 'fulfilled') session = opened.value
    if (created.status === 'fulfilled') vitest = created.value
    if (served.status === 'fulfilled') metrics = served.value
    if (opened.status === 'rejected') throw opened.reason
    if (created.status === 'rejected') throw asUsage(created.reason)
    if (served.status === 'rejected') throw served.reason
    const engine = created.value
    const hosts = opened.value.hosts
    adapter.send({ type: 'run.start', run, root: config.root, versions: opened.value.versions, hosts })
    engine.config.maxWorkers = workerCount(config, capacityOf(hosts))
    signals.onFirst(() => void engine.cancelCurrentRun('keyboard-input'))
    if (!signals.received) await drive(engine, adapter, config, options, signals)
    if (options.watch && !signals.received) {
      // Loaded only where it is watched.
      const { watchHosts } = await import('./watch-hosts.ts')
      const otherCapacity = capacityOf(hosts) - capacityOf(config.hosts)
      const watch = await watchHosts({ engine, config, run, doors, otherCapacity, notify })
      await signals.first
      await watch.close()
    }
  } catch (error) {
    failure = error
  }
  try {
    await vitest?.close()
  } catch (error) {
    failure ??= error
  }
  try {
    await metrics?.close()
  } catch (error) {
    failure ??= error
  }
  failure ??= session?.lost
  try {
    leaked = (await session?.end()) ?? 0
  } catch (error) {
    failure ??= error
  }

  const tally = adapter.tally()
  if (failure !== undefined && !signals.received) tally.errors.push(recordOf(failure))
  const flakyFails = options.failOnFlaky === true && tally.flaky > 0
  let exitCode = failureCode(failure, tally, signals.received, flakyFails, options)
  adapter.send({
    type: 'run.end',
    run,
    exitCode,
    durationMs: performance.now() - started,
    counts: tally.counts,
    flaky: tally.flaky,
    unverified: tally.unverified,
    errors: tally.errors,
    leaked,
  })
  await hub.close()
  if (options.reporter === 'none') {
    // No reporter, yet nobody should have to guess why nothing ran.
    for (const { message, code } of tally.errors) process.stderr.write(`atp: ${message}${code ? ` [${code}]` : ''}\n`)
  }
  const gate = reporters.gate()
  if (gate.failed) {
    for (const rule of gate.rules) process.stderr.write(`atp: quality gate: ${rule}\n`)
    if (exitCode === EXIT.passed) exitCode = EXIT.failed
  }
  if (hub.failures.length > 0) {
    for (const text of hub.failures) process.stderr.write(`atp: a report is incomplete: ${text}\n`)
    if (exitCode === EXIT.passed || exitCode === EXIT.failed) exitCode = EXIT.infrastructure
  }
  signals.release()
  return exitCode
}

function capacityOf(hosts: readonly { capacity: number }[]): number {
  return hosts.reduce((sum, { capacity }) => sum + capacity, 0)
}

async function serveMetrics(
  config: ResolvedConfig,
  run: string,
  address: RelayAddress,
  notify: (notice: SessionNotice) => void,
): Promise<RunMetrics> {
  // Loaded only where metrics are on.
  const { startMetrics } = await import('./metrics.ts')
  const { evidenceDir } = contextOf(config, run)
  const settings = config.metrics as NonNullable<ResolvedConfig['metrics']>
  return startMetrics({ settings, root: config.root, run, dir: evidenceDir, address, notify })
}

async function drive(
  engine: Vitest,
  adapter: VitestAdapter,
  config: ResolvedConfig,
  options: RunOptions,
  signals: ReturnType<typeof ownSignals>,
): Promise<void> {
  try {
    await engine.start(await scenarioFilters(options.filters ?? [], config.root))
  } catch (error) {
    if ((error as { code?: string }).code !== 'VITEST_FILES_NOT_FOUND') throw asUsage(error)
    if (options.passWithNoTests) return
    throw noTests(config, options)
  }
  const bailed = config.bail > 0 && engine.state.getCountOfFailedTests() >= config.bail
  if (!signals.received && !bailed) await runAgain(engine, adapter, () => signals.received !== undefined)
  const reason = signals.received
    ? 'the run was interrupted'
    : bailed
      ? `the run stopped after ${config.bail} failed ${config.bail === 1 ? 'test' : 'tests'} (bail)`
      : 'its worker process died'
  adapter.unrun(engine.state.getTestModules(), reason)
  if (adapter.isEmpty && !signals.received && !options.passWithNoTests) throw noTests(config, options)
  if (options.watch) {
    engine.onTestsRerun((specifications) => adapter.forget(specifications.map((spec) => spec.moduleId)))
    const announce = () => {
      const { passed, failed, broken } = adapter.tally().counts
      const text = `${passed} passed, ${failed} failed, ${broken} broken; waiting for changes (Ctrl-C ends)`
      adapter.send({ type: 'notice', level: 'info', text })
    }
    announce()
    adapter.afterRun = announce
  }
}

/**
 * Vitest gives up the file whose worker process died, and with one worker also all files behind it. Each gets one
 * more try; those that were innocent first, and alone if that worker died as well.
 */
async function runAgain(engine: Vitest, adapter: VitestAdapter, stopped: () => boolean): Promise<void> {
  const crashed = engine.state.getTestModules().filter((module) => adapter.crashed(module, true))
  if (adapter.unread.length > 0) await engine.runTestSpecifications(adapter.unread)
  for (const specification of adapter.unread) {
    if (!stopped()) await engine.runTestSpecifications([specification])
  }
  if (crashed.length > 0 && !stopped()) {
    await engine.runTestSpecifications(crashed.map((module) => module.toTestSpecification()))
  }
  for (const module of engine.state.getTestModules()) adapter.crashed(module, false)
}

function failureCode(
  failure: unknown,
  tally: ReturnType<VitestAdapter['tally']>,
  signal: 'SIGINT' | 'SIGTERM' | undefined,
  flakyFails: boolean,
  options: RunOptions,
): number {
  if (signal) return exitCodeOf(tally, { signal })
  if (failure !== undefined) {
    return isUsageError(failure) ? EXIT.usage : EXIT.infrastructure
  }
  const code = exitCodeOf(tally, { passWithNoTests: options.passWithNoTests === true })
  return code === EXIT.passed && flakyFails ? EXIT.failed : code
}

function vitestOptions(config: ResolvedConfig, options: RunOptions, adapter: VitestAdapter): CliOptions {
  return {
    config: false,
    root: config.root,
    watch: options.watch === true,
    reporters: [adapter],
    bail: config.bail,
    retry: config.retry,
    passWithNoTests: true,
    sequence: {
      sequencer: class extends BaseSequencer {
        // The last word on which files run: after filters and sharding.
        override sort(files: TestSpecification[]): Promise<TestSpecification[]> {
          adapter.plan(files)
          return super.sort(files)
        }
      },
    },
    ...(options.namePattern === undefined ? {} : { testNamePattern: options.namePattern }),
    ...(options.tags === undefined ? {} : { tagsFilter: [options.tags] }),
    ...(options.shard === undefined ? {} : { shard: options.shard }),
  }
}

/** Command-line options over configuration. @throws `ATP_USAGE`. */
function withOptions(config: ResolvedConfig, options: RunOptions): ResolvedConfig {
  const { evidence, shard, namePattern } = options
  if (evidence !== undefined && !['off', 'on', 'on-failure'].includes(evidence)) {
    throw configError('ATP_USAGE', `--evidence "${evidence}" is not one of off, on, on-failure`)
  }
  if (shard !== undefined && !/^[1-9]\d*\/[1-9]\d*$/.test(shard)) {
    throw configError('ATP_USAGE', `--shard "${shard}" is not of the form i/n`, { remedy: 'write --shard 1/3' })
  }
  if (namePattern !== undefined) {
    try {
      new RegExp(namePattern)
    } catch (error) {
      throw configError('ATP_USAGE', `--name is no regular expression: ${messageOf(error)}`)
    }
  }
  return {
    ...config,
    retry: options.retry ?? config.retry,
    bail: options.bail ?? config.bail,
    workers: options.workers ?? config.workers,
    evidence: (evidence as ResolvedConfig['evidence'] | undefined) ?? config.evidence,
    video: evidence === 'off' ? 'off' : config.video,
    report: {
      allure: options.allure === false ? undefined : config.report.allure,
      junit: options.junit === undefined ? config.report.junit : resolve(config.root, options.junit),
      json: options.json === undefined ? config.report.json : resolve(config.root, options.json),
    },
  }
}

/** Where the framework noticed what the user or the machine did wrong helps nobody. */
function recordOf(failure: unknown): ErrorRecord {
  const { stack, cause, ...record } = toErrorRecord(failure)
  const own = isAtpError(failure) && failure.branch !== 'internal'
  return {
    ...record,
    ...(own || stack === undefined ? {} : { stack }),
    ...(own || cause === undefined ? {} : { cause }),
  }
}

function noTests(config: ResolvedConfig, { filters = [], namePattern, tags, shard }: RunOptions): Error {
  const wanted = [
    ...(filters.length > 0 ? [`file ${filters.join(' or ')}`] : []),
    ...(namePattern === undefined ? [] : [`name /${namePattern}/`]),
    ...(tags === undefined ? [] : [`tags "${tags}"`]),
    ...(shard === undefined ? [] : [`shard ${shard}`]),
  ]
  const where = `${config.specs.join(', ')} of ${config.root}`
  return configError(
    'ATP_NO_TESTS',
    `no test found in ${where}${wanted.length > 0 ? ` with ${wanted.join(', ')}` : ''}`,
    {
      remedy: 'check the filters and "specs" of the configuration; --pass-with-no-tests allows it',
    },
  )
}

/** What Vitest throws before any test ran is about its options or the spec files. */
function asUsage(error: unknown): unknown {
  return isAtpError(error) ? error : configError('ATP_USAGE', messageOf(error), { cause: error })
}
