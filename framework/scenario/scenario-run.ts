import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import {
  assertionError,
  configError,
  interrupted,
  isAtpError,
  parseDuration,
  redact,
  sleep,
  timeoutError,
  unsupportedError,
  withDeadline,
} from '../core/index.ts'
import type { Vm } from '../desktop/api.ts'
import { toErrorRecord, verdictOfError } from '../evidence/error-record.ts'
import type { TestStatus } from '../evidence/events.ts'
import { redactDeep } from '../evidence/redact-event.ts'
import type { Delivery } from '../input/api.ts'
import { accountOf } from './kinds/input-options.ts'
import { unverified } from './kinds/command.ts'
import { evaluate, parseExpression, truthy, type Scenario, type Step, type VmKey } from './model/index.ts'
import type { StepRegistry } from './registry.ts'
import type { StepReport } from './report.ts'
import { revealed, RunVariables, type VariableSources } from './run-variables.ts'
import { platformContext } from './platform-context.ts'
import { ReferenceImages } from '../screen/index.ts'
import { SerialPort } from './serial-port.ts'
import type { ScenarioServices } from './services.ts'
import type { StepContext, StepKind, StepOutcome, StepParams, VmHistory } from './step-kind.ts'
import { locate } from './stack-place.ts'
import { fillParams } from './step-params.ts'
import { titleOf } from './step-title.ts'
import { Targets } from './targets.ts'

/** A call's own time limit knows more than the step's, so it gets this much time to speak first. */
const GRACE_MS = 250

export interface PreparedRun {
  resolve(key: VmKey): Promise<Vm>
  /** VMs that were there before the first step; others are the platform's. */
  leased: ReadonlySet<VmKey>
  initial: readonly VmKey[]
  sources: VariableSources
}

/** Where a step stands: what it sees and whom it tells. */
interface Frame {
  scenario: Scenario
  phase: StepReport['phase']
  targets: Targets
  variables: RunVariables
  /** Reports of this level. */
  reports: StepReport[]
  parent: string | undefined
  signal: AbortSignal
}

/** How a step failed; `soft` when only steps inside it failed that were to stop nothing. */
interface Failure {
  error: unknown
  soft: boolean
}

/** Failures of a list of steps: `stop` ended it, `soft` ones (`on_failure: continue`) did not. */
interface Failures {
  stop?: { error: unknown }
  soft?: { error: unknown }
}

/** One run of one scenario. */
export class ScenarioRun {
  readonly reports: StepReport[] = []
  unverified = 0
  #leased: ReadonlySet<VmKey> = new Set()
  readonly #scenario: Scenario
  readonly #services: ScenarioServices
  readonly #registry: StepRegistry
  readonly #histories = new Map<Vm, VmHistory>()
  readonly #ports = new Map<string, Promise<SerialPort>>()
  readonly #locations = new Map<string, string>()
  #steps = 0
  #attachmentDir: string | undefined

  constructor(scenario: Scenario, services: ScenarioServices, registry: StepRegistry) {
    this.#scenario = scenario
    this.#services = services
    this.#registry = registry
  }

  /** Runs all phases; resolves to the first failure. `onBody` is called when the time limit of the scenario ends. */
  async phases(prepared: PreparedRun, signal: AbortSignal, onBody: () => void): Promise<unknown> {
    const variables = new RunVariables(prepared.sources)
    const targets = new Targets(prepared.resolve, prepared.initial)
    this.#leased = prepared.leased
    const frame = { scenario: this.#scenario, targets, variables, reports: this.reports, parent: undefined, signal }
    return (await this.#phases(frame, onBody))?.error
  }

  /** Reports every step as skipped. */
  skipAll(reason: string): void {
    const { setup, steps, teardown } = this.#scenario
    for (const [phase, list] of Object.entries({ setup, steps, teardown }) as [StepReport['phase'], Step[]][]) {
      for (const step of list)
        this.#skip(step, { scenario: this.#scenario, phase, reports: this.reports, parent: undefined }, reason)
    }
  }

  /** The scenario's file, relative to the root when it is below it. */
  get file(): string {
    return this.#relative(this.#scenario.file)
  }

  /** Closes what steps opened. */
  close(): void {
    for (const port of this.#ports.values()) void port.then((open) => open.close()).catch(() => {})
  }

  async #phases(frame: Omit<Frame, 'phase'>, onBody: () => void): Promise<{ error: unknown } | undefined> {
    const { setup, steps, teardown } = frame.scenario
    const before = await this.#list(setup, { ...frame, phase: 'setup' })
    const body = before.stop
      ? this.#skipList(steps, { ...frame, phase: 'steps' }, 'the setup failed')
      : await this.#list(steps, { ...frame, phase: 'steps' })
    onBody()
    // Teardown must run although the scenario's signal may be aborted; each of its steps has a limit of its own.
    const after = await this.#list(
      teardown,
      { ...frame, phase: 'teardown', signal: new AbortController().signal },
      false,
    )
    return before.stop ?? before.soft ?? body.stop ?? body.soft ?? after.stop ?? after.soft
  }

  /** Runs steps in order. With `stopping` false a failure does not keep the others from running. */
  async #list(steps: readonly Step[], frame: Frame, stopping = true): Promise<Failures> {
    const failures: Failures = {}
    for (const [index, step] of steps.entries()) {
      if (frame.signal.aborted) {
        failures.stop ??= { error: interrupted(`"${frame.scenario.name}"`, frame.signal) }
        this.#skipList(steps.slice(index), frame, 'the run was interrupted')
        break
      }
      const { failed, title } = await this.#step(step, frame)
      if (!failed) continue
      if (!stopping || failed.soft || step.on_failure === 'continue') {
        failures.soft ??= failed
        continue
      }
      failures.stop = failed
      const reason = frame.signal.aborted ? 'the run was interrupted' : `"${title}" failed`
      this.#skipList(steps.slice(index + 1), frame, reason)
      break
    }
    return failures
  }

  #skipList(steps: readonly Step[], frame: Frame, reason: string): Failures {
    for (const step of steps) this.#skip(step, frame, reason)
    return {}
  }

  #skip(step: Step, frame: Pick<Frame, 'scenario' | 'phase' | 'reports' | 'parent'>, reason: string): void {
    const report = this.#begin(step, frame, titleOf(step))
    report.attempts = 0
    report.reason = redact(reason)
    this.#end(report, 'skipped', 0)
  }

  #begin(step: Step, frame: Pick<Frame, 'scenario' | 'phase' | 'reports' | 'parent'>, title: string): StepReport {
    const index = this.#steps++
    const report: StepReport = {
      index,
      id: `s${index + 1}`,
      phase: frame.phase,
      title: redact(title),
      action: step.action,
      status: 'pending',
      durationMs: 0,
      attempts: 1,
      location: { file: this.#relative(frame.scenario.file), ...step.at },
      vms: [],
    }
    frame.reports.push(report)
    this.#services.emit?.({
      type: 'step.start',
      time: Date.now(),
      step: report.id,
      ...(frame.parent === undefined ? {} : { parent: frame.parent }),
      title: report.title,
      kind: step.action,
      location: report.location,
    })
    return report
  }

  #end(report: StepReport, status: TestStatus, durationMs: number): void {
    report.status = status
    report.durationMs = durationMs
    const note = report.note ?? report.reason
    this.#services.emit?.({
      type: 'step.end',
      time: Date.now(),
      step: report.id,
      status,
      durationMs,
      ...(report.error === undefined ? {} : { error: report.error }),
      ...(note === undefined ? {} : { note }),
    })
  }

  async #step(step: Step, frame: Frame): Promise<{ failed: Failure | undefined; title: string }> {
    const started = performance.now()
    const report = this.#begin(
      step,
      frame,
      titleOf(step, (value) => frame.variables.fill(value)),
    )
    let failed: Failure | undefined
    try {
      if (step.when !== undefined && !truthy(evaluate(parseExpression(step.when), frame.variables), frame.variables)) {
        report.attempts = 0
        report.reason = `when: ${step.when}`
        this.#end(report, 'skipped', performance.now() - started)
        return { failed, title: report.title }
      }
      failed = await this.#attempts(step, frame, report)
    } catch (error) {
      failed = { error, soft: false }
    }
    if (failed) {
      locate(failed.error, report.title, step, frame.scenario)
      report.error = toErrorRecord(failed.error, { root: this.#root })
    }
    const status = failed === undefined ? 'passed' : verdictOfError(failed.error) === 'product' ? 'failed' : 'broken'
    this.#end(report, status, performance.now() - started)
    return { failed, title: report.title }
  }

  async #attempts(step: Step, frame: Frame, report: StepReport): Promise<Failure | undefined> {
    const retry = step.retry ?? frame.scenario.defaults?.retry
    for (let attempt = 1; ; attempt++) {
      report.attempts = attempt
      // What an earlier attempt saw says nothing about this one.
      for (const key of ['verified', 'latency', 'note', 'output'] as const) delete report[key]
      if (step.steps || step.scenario) report.steps = []
      const failed = await this.#attempt(step, frame, report)
      if (!failed || frame.signal.aborted || attempt > (retry?.times ?? 0)) return failed
      if (retry?.delay !== undefined) await sleep(parseDuration(retry.delay, 's'), frame.signal)
    }
  }

  async #attempt(step: Step, frame: Frame, report: StepReport): Promise<Failure | undefined> {
    const kind = this.#registry.get(step.action)
    const soft: { first?: unknown } = {}
    let work: Promise<void> | undefined
    let timeoutMs = Infinity
    try {
      const params = fillParams(kind, step, frame.variables)
      timeoutMs = this.#timeoutMs(kind, step, params, frame)
      const bounds = { timeoutMs: timeoutMs + GRACE_MS, signal: frame.signal }
      await withDeadline(report.title, bounds, (signal) => {
        work = this.#inStep(report.id, () =>
          this.#perform(kind, step, params, { ...frame, signal }, report, timeoutMs, soft),
        )
        return work
      })
    } catch (error) {
      // Steps inside end with the signal; their reports must be complete before this one ends.
      if (kind.nested || step.scenario) await work?.catch(() => {})
      const outOfTime = isAtpError(error, 'ATP_TIMEOUT') && error.context['timeoutMs'] === timeoutMs + GRACE_MS
      if (!outOfTime) return { error, soft: false }
      const message = `step "${report.title}" did not finish within ${timeoutMs} ms`
      return {
        error: timeoutError('ATP_SCENARIO_STEP_TIMEOUT', message, {
          context: { timeoutMs },
          cause: error.cause,
          // As with step() in TypeScript: what took too long is what is tested.
          verdict: 'product',
        }),
        soft: false,
      }
    }
    return 'first' in soft ? { error: soft.first, soft: true } : undefined
  }

  /** Does the step's work on every VM it is for. */
  async #perform(
    kind: StepKind,
    step: Step,
    params: StepParams,
    frame: Frame,
    report: StepReport,
    timeoutMs: number,
    soft: { first?: unknown },
  ): Promise<void> {
    const on = step.on && (revealed(frame.variables.fill(step.on)) as unknown[]).flat().map(String)
    const contextFor = (vm?: Vm) => this.#context(step, frame, report, timeoutMs, soft, vm, on)
    const platformVms = kind.runOnPlatform && this.#ofPlatform(on ?? frame.targets.ofPlatform)
    if (kind.runOnPlatform && platformVms) {
      if (on) frame.targets.become(on)
      report.vms = [...platformVms]
      const { output, note } = (await kind.runOnPlatform(contextFor(), params, platformVms)) ?? {}
      return this.#keep(step, frame, report, output, note)
    }
    await kind.prepare?.(contextFor(), params)
    const named =
      kind.needs.includes('vm') || (on && !kind.needs.includes('platform'))
        ? await frame.targets.forStep(on, kind.action === 'vm.connect')
        : []
    const vms = kind.needs.includes('vm') || (kind.takesVm && on) ? named : [undefined]
    report.vms = named.map((vm) => vm.name)
    const outcomes: StepOutcome[] = []
    for (const vm of vms) {
      if (frame.signal.aborted) throw interrupted(report.title, frame.signal)
      const context = contextFor(vm)
      try {
        const outcome = (await kind.run(context, params)) ?? {}
        outcomes.push(outcome)
        if (vm && outcome.deliveries) this.#judge(outcome.deliveries, context.verify, vm, report)
        if (vm && !kind.passive) context.history.action = { name: kind.action, passed: true }
      } catch (error) {
        if (vm && !kind.passive) context.history.action = { name: kind.action, passed: false }
        throw error
      }
    }
    const outputs = outcomes.map((outcome) => outcome.output)
    const notes = outcomes.map(({ note }, index) =>
      note !== undefined && vms.length > 1 ? `${vms[index]?.name}: ${note}` : note,
    )
    const note = notes.filter((one) => one !== undefined).join('; ')
    const output = outputs.some((one) => one !== undefined) && outputs.length !== 1 ? outputs : outputs[0]
    this.#keep(step, frame, report, output, note)
  }

  #keep(step: Step, frame: Frame, report: StepReport, output: unknown, note: string | undefined): void {
    if (step.capture !== undefined) frame.variables.capture(step.capture, output)
    if (output !== undefined) report.output = redactDeep(output)
    if (note) report.note = redact(note)
  }

  /** VMs that are the platform's, undefined if any of them is leased. */
  #ofPlatform(names: readonly string[] | undefined): readonly string[] | undefined {
    return this.#services.vdi && names?.length && !names.some((name) => this.#leased.has(name)) ? names : undefined
  }

  #judge(deliveries: readonly Delivery[], verify: StepContext['verify'], vm: Vm, report: StepReport): void {
    this.#history(vm).deliveries = deliveries
    const lost = deliveries.filter(({ outcome }) => outcome !== 'delivered')
    report.verified = lost.length === 0 && report.verified !== false
    const latencies = deliveries.flatMap(({ latency }) => latency ?? [])
    if (latencies.length > 0) report.latency = [...(report.latency ?? []), ...latencies]
    this.unverified += lost.filter(({ outcome }) => outcome === 'unverified').length
    const [first] = lost
    if (verify !== 'require' || !first) return
    if (first.outcome === 'unverified') throw unverified(vm.name, first.reason)
    const details = first.differences.length > 0 ? `: ${first.differences.join('; ')}` : ''
    throw assertionError('ATP_SCENARIO_INPUT_DAMAGED', `${first.action} in ${vm.name}: ${accountOf(first)}${details}`, {
      context: { vm: vm.name, delivery: first },
    })
  }

  #context(
    step: Step,
    frame: Frame,
    report: StepReport,
    timeoutMs: number,
    soft: { first?: unknown },
    vm: Vm | undefined,
    on: readonly string[] | undefined,
  ): StepContext {
    const { scenario, signal } = frame
    const call = { signal, timeoutMs }
    const inner = { ...frame, reports: report.steps ?? [], parent: report.id }
    const finish = (failures: Failures) => {
      if (failures.soft && !('first' in soft)) soft.first = failures.soft.error
      if (failures.stop) throw failures.stop.error
    }
    return {
      step,
      get vm(): Vm {
        return demanded(vm, step.action)
      },
      history: vm ? this.#history(vm) : {},
      platform: platformContext(this.#services.vdi, frame.targets, on, call),
      call,
      verify: step.verify ?? scenario.defaults?.verify ?? 'observe',
      input: this.#input(frame),
      serialPort: (name) => this.#port(vm, name, call),
      images: new ReferenceImages(scenario.file, this.#services.updateScreens ?? false),
      attach: async (name, contentType, content) => this.#attach(report.id, name, contentType, content),
      disconnect: () => {
        if (vm) frame.targets.disconnect(vm)
      },
      runSteps: async (steps, { loop, fork } = {}) => {
        const variables = loop ? frame.variables.inLoop(loop) : frame.variables
        const targets = fork ? frame.targets.fork() : frame.targets
        finish(await this.#list(steps, { ...inner, variables, targets }))
      },
      runScenario: async (other, vars) => {
        const variables = frame.variables.forScenario({ ...other.vars, ...vars })
        const failure = await this.#phases({ ...inner, scenario: other, variables }, () => {})
        if (failure) throw failure.error
      },
      handler: (name) => this.#registry.handler(name),
    }
  }

  #timeoutMs(kind: StepKind, step: Step, params: StepParams, frame: Frame): number {
    if (step.timeout !== undefined) return parseDuration(revealed(frame.variables.fill(step.timeout)), 's')
    const { stepMs = 30_000, expectMs = 5_000 } = this.#services.timeouts ?? {}
    const common = frame.scenario.defaults?.timeout
    const base = common === undefined ? (kind.expectation ? expectMs : stepMs) : parseDuration(common, 's')
    return base + (kind.ownDurationMs?.(params, this.#input(frame)) ?? 0)
  }

  #input({ scenario: { input }, variables }: Frame): StepContext['input'] {
    const via = revealed(variables.fill(input?.channel ?? 'auto'))
    if (via !== 'auto' && via !== 'qmp' && via !== 'spice') {
      throw configError('ATP_SCENARIO_VALUE', `input.channel is ${JSON.stringify(via)}; it must be auto, qmp or spice`)
    }
    return {
      via,
      ...(input?.observe === undefined ? {} : { observe: input.observe }),
      layout: input?.layout ?? 'us',
      ...(input?.key_delay === undefined ? {} : { delayMs: parseDuration(input.key_delay, 's') }),
      ...(input?.key_hold === undefined ? {} : { holdMs: parseDuration(input.key_hold, 's') }),
    }
  }

  #history(vm: Vm): VmHistory {
    let history = this.#histories.get(vm)
    if (!history) this.#histories.set(vm, (history = {}))
    return history
  }

  #inStep<T>(id: string, work: () => Promise<T>): Promise<T> {
    return this.#services.inStep ? this.#services.inStep(id, work) : work()
  }

  async #port(vm: Vm | undefined, name: string | undefined, call: StepContext['call']): Promise<SerialPort> {
    const { openPort } = this.#services
    if (!vm || !openPort) {
      throw unsupportedError(
        'ATP_SCENARIO_NO_SERIAL',
        `the port ${name ?? ''} cannot be opened: this run has no way to serial ports`,
      )
    }
    const key = `${vm.uuid} ${name ?? ''}`
    let port = this.#ports.get(key)
    if (!port) {
      port = openPort(vm, name, call).then((stream) => new SerialPort(stream))
      this.#ports.set(key, port)
      port.catch(() => this.#ports.delete(key))
    }
    return port
  }

  #attach(step: string, name: string, contentType: string, content: string | Uint8Array): string | undefined {
    if (this.#services.attach) return this.#services.attach(name, contentType, content) ?? undefined
    const event = { type: 'attachment' as const, time: Date.now(), step, name, contentType }
    if (typeof content === 'string') {
      this.#services.emit?.({ ...event, text: redact(content) })
      return undefined
    }
    this.#attachmentDir ??= mkdtempSync(join(tmpdir(), 'atp-scenario-'))
    const path = join(
      this.#attachmentDir,
      `${step}-${name.replaceAll(/[^\p{L}\p{N}._-]+/gu, '_')}.${contentType.split('/')[1] ?? 'bin'}`,
    )
    writeFileSync(path, content)
    this.#services.emit?.({ ...event, path })
    return path
  }

  get #root(): string {
    return this.#services.root ?? process.cwd()
  }

  #relative(file: string): string {
    let path = this.#locations.get(file)
    if (path === undefined) this.#locations.set(file, (path = file.startsWith('/') ? relative(this.#root, file) : file))
    return path
  }
}

/** @throws for a step kind that uses a VM and does not say so. */
function demanded(vm: Vm | undefined, action: string): Vm {
  if (vm) return vm
  throw configError('ATP_SCENARIO_NO_TARGET', `${action} does not say that it needs a VM`, {
    remedy: "add needs: ['vm'] to the step kind",
  })
}
