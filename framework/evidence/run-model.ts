import {
  ALLURE_MESSAGES_TYPE,
  type Attachment,
  type DeliveryRecord,
  type HostState,
  type LeaseChange,
  type Metric,
  type Notice,
  type RunEnd,
  type RunEvent,
  type RunPlan,
  type RunStart,
  type StepEnd,
  type StepStart,
  type TestEnd,
  type TestStart,
  type TestStatus,
  type VmRecord,
} from './events.ts'
import { redactDeep } from './redact-event.ts'

/** What belongs to a step, or to the attempt itself where no step is named. */
export interface Evidence {
  inputs: { time: number; vm: string; delivery: DeliveryRecord }[]
  metrics: Metric[]
  attachments: Attachment[]
}

export interface StepView extends Evidence {
  start: StepStart
  /** Absent while the step runs, or when its test ended before it. */
  end?: StepEnd
  children: StepView[]
}

export interface AttemptView extends Evidence {
  attempt: number
  /** Milliseconds since the epoch. */
  startTime: number
  end?: TestEnd
  /** Top-level steps in the order they started. */
  steps: StepView[]
  /** Every VM the attempt was granted. */
  vms: VmRecord[]
  lease?: LeaseChange['state']
  waitMs: number
}

export interface TestView {
  /** The event model's `test`: stable and unique within the run. */
  test: string
  id?: string
  name: string
  path: string[]
  /** Relative to the project's root; empty when the test never announced itself. */
  file: string
  line?: number
  tags: string[]
  meta: Record<string, unknown>
  attempts: AttemptView[]
}

/**
 * Folds run events into a tree: run → tests → attempts → steps, each with its evidence.
 *
 * Accepts events in any order a broken run may produce them: an end without a start, a step after its test's end,
 * evidence of an unknown step. Nothing is dropped; what has no step belongs to its attempt.
 */
export class RunModel {
  run?: RunStart
  plan?: RunPlan
  end?: RunEnd
  /** Last state of each host, in the order they became known. */
  readonly hosts = new Map<string, HostState>()
  /** By the event model's `test`, in the order they started. */
  readonly tests = new Map<string, TestView>()
  readonly notices: Notice[] = []
  readonly #steps = new WeakMap<AttemptView, Map<string, StepView>>()

  /** Folds one event in and returns it as it was folded: with secrets redacted. */
  apply(raw: RunEvent): RunEvent {
    const event = redactDeep(raw)
    switch (event.type) {
      case 'run.start':
        this.run = event
        for (const { id, capacity } of event.hosts) {
          this.hosts.set(id, { v: event.v, time: event.time, type: 'host', host: id, state: 'up', leased: 0, capacity })
        }
        break
      case 'run.plan':
        if (event.again) {
          for (const [test, { file }] of this.tests) if (event.files.includes(file)) this.tests.delete(test)
        }
        this.plan = event
        break
      case 'run.end':
        this.end = event
        break
      case 'notice':
        this.notices.push(event)
        break
      case 'host':
        this.hosts.set(event.host, { ...this.hosts.get(event.host), ...event })
        break
      case 'test.start':
        this.#startTest(event)
        break
      default:
        this.#applyToAttempt(this.#attempt(event.test, event.attempt, event.time), event)
    }
    return event
  }

  /** The attempt an event speaks of, if it is known. */
  attempt(test: string, attempt: number): AttemptView | undefined {
    return this.tests.get(test)?.attempts.find((view) => view.attempt === attempt)
  }

  #startTest(event: TestStart): void {
    const known = this.tests.get(event.test)
    // The same attempt again is a rerun (watch mode, a crashed file): the newer one counts.
    const earlier = known?.attempts.filter((view) => view.attempt < event.attempt) ?? []
    this.tests.set(event.test, {
      test: event.test,
      ...(event.id === undefined ? {} : { id: event.id }),
      name: event.name,
      path: event.path,
      file: event.location.file,
      line: event.location.line,
      tags: event.tags,
      meta: event.meta,
      attempts: [...earlier, newAttempt(event.attempt, event.time)],
    })
  }

  #attempt(test: string, number: number, time: number): AttemptView {
    let view = this.tests.get(test)
    if (!view) {
      view = { test, name: test, path: [], file: '', tags: [], meta: {}, attempts: [] }
      this.tests.set(test, view)
    }
    let attempt = view.attempts.find((candidate) => candidate.attempt === number)
    if (!attempt) {
      attempt = newAttempt(number, time)
      view.attempts.push(attempt)
    }
    return attempt
  }

  #applyToAttempt(attempt: AttemptView, event: Exclude<RunEvent, { type: 'run.start' | 'test.start' }>): void {
    switch (event.type) {
      case 'test.end':
        attempt.end = event
        break
      case 'step.start': {
        const step: StepView = { start: event, children: [], ...noEvidence() }
        this.#stepsOf(attempt).set(event.step, step)
        const parent = event.parent === undefined ? undefined : this.#stepsOf(attempt).get(event.parent)
        ;(parent?.children ?? attempt.steps).push(step)
        break
      }
      case 'step.end': {
        const step = this.#stepsOf(attempt).get(event.step)
        if (step) step.end = event
        break
      }
      case 'input':
        this.#owner(attempt, event.step).inputs.push({ time: event.time, vm: event.vm, delivery: event.delivery })
        break
      case 'metric':
        this.#owner(attempt, event.step).metrics.push(event)
        break
      case 'attachment':
        this.#owner(attempt, event.step).attachments.push(event)
        break
      case 'lease':
        attempt.lease = event.state
        attempt.waitMs += event.state === 'granted' ? (event.waitMs ?? 0) : 0
        if (event.state !== 'released') {
          const known = new Set(attempt.vms.map(({ uuid }) => uuid))
          attempt.vms.push(...event.vms.filter(({ uuid }) => event.state === 'granted' && !known.has(uuid)))
        }
        break
    }
  }

  #owner(attempt: AttemptView, step: string | undefined): Evidence {
    return (step === undefined ? undefined : this.#stepsOf(attempt).get(step)) ?? attempt
  }

  #stepsOf(attempt: AttemptView): Map<string, StepView> {
    let steps = this.#steps.get(attempt)
    if (!steps) this.#steps.set(attempt, (steps = new Map()))
    return steps
  }
}

function noEvidence(): Evidence {
  return { inputs: [], metrics: [], attachments: [] }
}

function newAttempt(attempt: number, startTime: number): AttemptView {
  return { attempt, startTime, steps: [], vms: [], waitMs: 0, ...noEvidence() }
}

/** The attempt that counts: the last one. Every test has at least one. */
export function lastAttempt(test: TestView): AttemptView {
  return test.attempts.at(-1) as AttemptView
}

/** `pending` until the attempt has ended. */
export function statusOf(attempt: AttemptView): TestStatus {
  return attempt.end?.status ?? 'pending'
}

/** The attempt's steps, parents before children. */
export function* allSteps(steps: readonly StepView[]): Generator<StepView> {
  for (const step of steps) {
    yield step
    yield* allSteps(step.children)
  }
}

/**
 * Everything the attempt and its steps left behind, in the order of steps, without the messages of the author's
 * own Allure calls.
 */
export function allEvidence(attempt: AttemptView): Evidence {
  const owners: Evidence[] = [attempt, ...allSteps(attempt.steps)]
  return {
    inputs: owners.flatMap(({ inputs }) => inputs),
    metrics: owners.flatMap(({ metrics }) => metrics),
    attachments: owners
      .flatMap(({ attachments }) => attachments)
      .filter(({ contentType }) => contentType !== ALLURE_MESSAGES_TYPE),
  }
}

/** Suite names and test name, for people: `输入 › 文本完整到达`. */
export function titleOf(test: TestView): string {
  return [...test.path, test.name].join(' › ')
}
