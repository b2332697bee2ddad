import {
  configError,
  connectError,
  interrupted,
  isAtpError,
  messageOf,
  stateError,
  timeoutError,
  parseDuration,
  type Secret,
} from '../core/index.ts'
import type { Vm } from '../desktop/api.ts'
import { toErrorRecord, verdictOfError } from '../evidence/error-record.ts'
import { stepRegistry } from './default-registry.ts'
import { keyOf, needsOf, type Scenario, type VmKey } from './model/index.ts'
import { walkReports, type TestReport } from './report.ts'
import { needsVdi } from './platform-context.ts'
import { ScenarioRun } from './scenario-run.ts'
import type { ScenarioServices } from './services.ts'

export interface ExecuteOptions {
  /** Ends the run: the running step is interrupted, teardown still runs. */
  signal?: AbortSignal
  /** Values that replace or add to the scenario's `vars`. */
  vars?: Readonly<Record<string, unknown>>
  /** The matrix combination to run. Needed when the scenario has a matrix. */
  matrix?: Readonly<Record<string, unknown>>
}

/** Runs scenarios. Knows nothing of any test runner. */
export class ScenarioExecutor {
  readonly #services: ScenarioServices

  constructor(services: ScenarioServices) {
    this.#services = services
  }

  /**
   * Runs setup, steps and teardown and tells what happened. Never rejects for what a step, a VM or a timeout
   * does; the report says so. Teardown runs after failures, timeouts and aborts alike.
   */
  async execute(scenario: Scenario, options: ExecuteOptions = {}): Promise<TestReport> {
    const started = performance.now()
    const startedAt = new Date().toISOString()
    const limit = new AbortController()
    const signal = options.signal ? AbortSignal.any([options.signal, limit.signal]) : limit.signal
    const run = new ScenarioRun(scenario, this.#services, this.#services.registry ?? stepRegistry)
    let timer: NodeJS.Timeout | undefined
    let failure: unknown
    try {
      const prepared = await this.#prepare(scenario, options, signal)
      if (scenario.timeout !== undefined) {
        const timeoutMs = parseDuration(scenario.timeout, 's')
        timer = setTimeout(() => {
          limit.abort(
            timeoutError(
              'ATP_SCENARIO_TIMEOUT',
              `the scenario "${scenario.name}" did not finish within ${timeoutMs} ms`,
            ),
          )
        }, timeoutMs)
      }
      failure = await run.phases(prepared, signal, () => clearTimeout(timer))
    } catch (error) {
      failure = error
      run.skipAll(`the scenario could not start: ${messageOf(error)}`)
    } finally {
      clearTimeout(timer)
      run.close()
    }
    // What ended the run explains more than the step that it interrupted.
    if (limit.signal.aborted && isAtpError(failure, 'ATP_INTERRUPTED')) failure = limit.signal.reason
    const status =
      failure === undefined
        ? 'passed'
        : options.signal?.aborted
          ? 'interrupted'
          : verdictOfError(failure) === 'product'
            ? 'failed'
            : 'broken'
    return this.#report(scenario, run, { status, failure, startedAt, durationMs: performance.now() - started })
  }

  /** Everything that can be wrong before the first step, found before the first step. */
  async #prepare(scenario: Scenario, { vars, matrix = {} }: ExecuteOptions, signal: AbortSignal) {
    const services = this.#services
    for (const name of Object.keys(scenario.matrix ?? {})) {
      if (Object.hasOwn(matrix, name)) continue
      throw configError(
        'ATP_SCENARIO_MATRIX',
        `"${scenario.name}" has a matrix and no value was chosen for "${name}"`,
        {
          remedy: 'pass one of combinationsOf(scenario) as matrix',
        },
      )
    }
    const given = { ...scenario, vars: { ...scenario.vars, ...vars } }
    const needs = needsOf(given, services.registry ?? stepRegistry, matrix)
    if (needs.platform && !services.vdi) throw needsVdi()
    const vms = new Map<VmKey, Promise<Vm>>()
    let started = false
    const resolve = (key: VmKey): Promise<Vm> => {
      const known = vms.get(key)
      if (known) return known
      // What is not leased is the platform's, which knows best whether it still is what it was.
      if (started && key !== undefined && needs.platform && services.vdi) return services.vdi.open(key, { signal })
      const resolving = this.#resolve(key, signal)
      vms.set(key, resolving)
      return resolving
    }
    await Promise.all(needs.vms.map((vm) => resolve(keyOf(vm))))
    started = true
    const initial = scenario.use?.vms ? Object.keys(scenario.use.vms) : (scenario.target?.domains ?? [undefined])
    const sources = {
      vars: given.vars,
      matrix,
      env: services.env ?? process.env,
      secret: (name: string): Secret => {
        if (services.secret) return services.secret(name)
        throw configError('ATP_SECRET_UNKNOWN', `no secret "${name}" is configured`, {
          remedy: 'give the executor a secret service',
        })
      },
    }
    const leased = new Set(vms.keys())
    return { resolve, leased, initial, sources }
  }

  async #resolve(key: VmKey, signal: AbortSignal): Promise<Vm> {
    if (signal.aborted) throw interrupted('finding the VMs', signal)
    const vm = await this.#services.resolveVm(key, { signal })
    if (vm) return vm
    if (key === undefined) {
      throw configError('ATP_SCENARIO_NO_TARGET', 'the scenario names no VM and none was given to run it on', {
        remedy: 'name one with "on" or "target"',
      })
    }
    throw connectError('ATP_SCENARIO_UNKNOWN_VM', `there is no VM "${key}"`, { context: { vm: key } })
  }

  #report(
    scenario: Scenario,
    run: ScenarioRun,
    end: { status: TestReport['status']; failure: unknown; startedAt: string; durationMs: number },
  ): TestReport {
    const counts = { passed: 0, failed: 0, broken: 0, skipped: 0 }
    for (const { status } of walkReports(run.reports)) {
      if (status === 'pending') throw stateError('ATP_SCENARIO_STEP_PENDING', 'a step was left without an end')
      counts[status]++
    }
    const { root } = this.#services
    const report: TestReport = {
      scenario: scenario.name,
      ...(scenario.id === undefined ? {} : { id: scenario.id }),
      ...(scenario.description === undefined ? {} : { description: scenario.description }),
      tags: scenario.tags,
      file: run.file,
      status: end.status,
      passed: end.status === 'passed',
      startedAt: end.startedAt,
      durationMs: end.durationMs,
      counts,
      unverified: run.unverified,
      steps: run.reports,
      ...(end.failure === undefined ? {} : { error: toErrorRecord(end.failure, root === undefined ? {} : { root }) }),
    }
    return Object.defineProperty(report, 'failure', { value: end.failure, enumerable: false })
  }
}
