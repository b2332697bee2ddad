import { configError } from '../../core/errors.ts'
import type { VmRequest } from '../../leases/api.ts'
import type { Scope } from './expression.ts'
import { combinationScope, combinationsOf } from './matrix.ts'
import type { Problem } from './problem.ts'
import type { Scenario, ScenarioCheckpoint, ScenarioVerification, Step, Use, VmWish } from './scenario.ts'
import type { StepCatalog } from './step-spec.ts'
import { fill, isTemplate } from './template.ts'

/** The VMs one test of a scenario leases, all together. */
export interface ScenarioNeeds {
  vms: NeededVm[]
  locks: string[]
  /** A step needs the VDI platform. VMs that are no roles are the platform's then. */
  platform?: true
  /** Of the scenario's header. */
  verification?: ScenarioVerification
}
/** A VM a scenario needs. Steps call it by its role, else by its name, else not at all. */
export interface NeededVm extends Omit<VmRequest, 'checkpoint'>, Omit<VmWish, 'checkpoint'> {
  role?: string
  checkpoint?: NeededCheckpoint
}
/** A checkpoint with what is to be run for it. */
export interface NeededCheckpoint {
  name: string
  preparation: Scenario
  matrix: Record<string, unknown>
}

/** What names a VM to steps; `undefined` for the one VM of a scenario that names none. */
export type VmKey = string | undefined

export function keyOf(vm: NeededVm): VmKey {
  return vm.role ?? vm.name
}

/**
 * The VMs a scenario needs for one combination of its matrix.
 *
 * Roles under `use.vms` are the whole set. Without roles it is every VM that `target` or a step names, and
 * one VM of any name if a step acts before any VM is named. Where a step needs the VDI platform, names other than
 * roles mean VMs of the platform, and nothing is leased for them.
 *
 * @throws `ATP_SCENARIO_NO_TARGET` for `on` that cannot be known before the run or names no role.
 */
export function needsOf(
  scenario: Scenario,
  catalog: StepCatalog,
  combination: Record<string, unknown> = {},
): ScenarioNeeds {
  const scope = combinationScope(scenario, combination)
  const { checkpoint, vms, ...rest } = scenario.use ?? {}
  const use = fill(rest, scope) as Use
  const prepared = (one: ScenarioCheckpoint | undefined) =>
    one && { checkpoint: { name: one.name, preparation: preparationOf(scenario, one), matrix: combination } }
  const wish = {
    ...pick({ ...(scenario.target?.hosts ? { host: scenario.target.hosts } : {}), ...use }),
    ...prepared(checkpoint),
  }
  const roles = Object.entries(vms ?? {}).map(([role, { checkpoint: its, ...own }]) => {
    return { role, ...wish, ...(fill(own, scope) as Omit<VmWish, 'checkpoint'>), ...prepared(its) }
  })
  const walk = new TargetWalk(scenario, catalog, scope)
  const [problem] = walk.problems
  if (problem)
    throw configError(
      'ATP_SCENARIO_NO_TARGET',
      problem.message,
      problem.remedy ? { remedy: problem.remedy } : undefined,
    )
  const named = roles.length > 0 ? [] : [...walk.named].map((name) => ({ name, ...wish }))
  const anonymous = roles.length === 0 && walk.anonymous ? [{ ...wish }] : []
  return {
    vms: [...roles, ...anonymous, ...named],
    locks: use.locks ?? [],
    ...(walk.platform ? { platform: true } : {}),
    ...(scenario.verification ? { verification: scenario.verification } : {}),
  }
}

/** What {@link needsOf} would throw for any combination, as problems at their places. */
export function targetProblems(scenario: Scenario, catalog: StepCatalog): Problem[] {
  const found = new Map<string, Problem>()
  for (const { values } of combinationsOf(scenario)) {
    for (const problem of new TargetWalk(scenario, catalog, combinationScope(scenario, values)).problems) {
      found.set(`${problem.line}:${problem.column} ${problem.message}`, problem)
    }
  }
  return [...found.values()]
}

/** The steps of a checkpoint as a scenario of their own, with the variables and settings of the whole. */
function preparationOf(
  { file, vars, matrix, input, defaults }: Scenario,
  { name, prepare }: ScenarioCheckpoint,
): Scenario {
  return {
    file,
    name,
    tags: [],
    setup: [],
    steps: prepare,
    teardown: [],
    at: prepare[0]?.at ?? { line: 1, column: 1 },
    ...(vars && { vars }),
    ...(matrix && { matrix }),
    ...(input && { input }),
    ...(defaults && { defaults }),
  }
}

function pick({ profile, template, platform, labels, host, ownership }: VmWish): Omit<VmWish, 'checkpoint'> {
  return Object.fromEntries(
    Object.entries({ profile, template, platform, labels, host, ownership }).filter(([, value]) => value !== undefined),
  )
}

/** Follows the current set through a scenario without running it. */
class TargetWalk {
  readonly named = new Set<string>()
  anonymous = false
  readonly problems: Problem[] = []
  readonly platform: boolean
  readonly #catalog: StepCatalog
  readonly #scope: Scope
  readonly #roles: readonly string[]
  #hasCurrent: boolean

  constructor(scenario: Scenario, catalog: StepCatalog, scope: Scope) {
    this.#catalog = catalog
    this.#scope = scope
    this.#roles = Object.keys(scenario.use?.vms ?? {})
    const steps = [...scenario.setup, ...scenario.steps, ...scenario.teardown]
    this.platform = this.#needsPlatform(steps)
    const targets = scenario.target?.domains ?? []
    if (!this.platform) for (const name of targets) this.named.add(name)
    this.#hasCurrent = targets.length > 0 || this.#roles.length > 0
    this.#steps(steps)
  }

  #needsPlatform(steps: readonly Step[]): boolean {
    return steps.some(({ action, steps: inner = [], scenario: other }) => {
      if (this.#catalog.find(action)?.needs.includes('platform')) return true
      return this.#needsPlatform([...inner, ...(other ? [...other.setup, ...other.steps, ...other.teardown] : [])])
    })
  }

  #steps(steps: readonly Step[]): void {
    for (const step of steps) {
      for (const name of step.on ?? []) this.#name(step, name)
      if (step.on?.length || this.#catalog.find(step.action)?.needs.includes('platform')) this.#hasCurrent = true
      else if (!this.#hasCurrent && this.#catalog.find(step.action)?.needs.includes('vm')) {
        this.anonymous = true
        this.#hasCurrent = true
      }
      if (step.scenario) this.#steps([...step.scenario.setup, ...step.scenario.steps, ...step.scenario.teardown])
      if (!step.steps) continue
      const before = this.#hasCurrent
      this.#steps(step.steps)
      // Branches of a parallel step keep their current sets to themselves.
      if (step.action === 'parallel') this.#hasCurrent = before
    }
  }

  #name(step: Step, written: string): void {
    const report = (message: string, remedy: string) => {
      const problem: Problem = {
        severity: 'error',
        code: 'ATP_SCENARIO_NO_TARGET',
        message,
        remedy,
        ...(step.keys['on'] ?? step.at),
      }
      this.problems.push(problem)
    }
    const name = this.#known(written)
    if (this.platform && (name === undefined || !this.#roles.includes(name))) return
    if (name === undefined) {
      // Captured and loop values exist only during the run; then the roles say what may come.
      if (this.#roles.length > 0) return
      return report(`which VM "${written}" means is not known before the run`, 'list the VMs under use.vms')
    }
    if (this.#roles.length === 0) this.named.add(name)
    else if (!this.#roles.includes(name))
      report(`there is no VM "${name}" in use.vms`, `roles: ${this.#roles.join(', ')}`)
  }

  #known(written: string): string | undefined {
    if (!isTemplate(written)) return written
    try {
      const name = String(fill(written, this.#scope))
      return isTemplate(name) ? undefined : name
    } catch {
      return undefined
    }
  }
}
