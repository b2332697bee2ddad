import { parseExpression, pathsOf, type Expression } from './expression.ts'
import { suggestion } from './problem.ts'
import type { Reading } from './reading.ts'
import { checkpointsOf, type Scenario, type Step } from './scenario.ts'
import type { Position } from './position.ts'
import { isTemplate, parseTemplate, textsOf } from './template.ts'

type Path = Extract<Expression, { kind: 'path' }>

/** Steps that stand among what is leased: what they say is known when they run. */
const PREPARATION = /^\/use\/(?:.+\/)?checkpoint\/prepare\//

/** Finds every `${…}` that can never have a value, before anything is sent. */
export function checkVariables(reading: Reading, scenario: Scenario, data: Record<string, unknown>): void {
  const check = new VariableCheck(reading, scenario)
  const known = new Set(['vars', 'matrix', 'env', 'secret', ...Object.keys(scenario.vars ?? {})])
  for (const key of ['use', 'vars'] as const) {
    // What is leased is decided before the run: nothing but vars and matrix exists then.
    const early = new Set([...known].filter((name) => key === 'use' || name !== 'vars'))
    for (const { text, pointer } of textsOf(data[key], `/${key}`))
      if (!PREPARATION.test(pointer)) check.text(text, reading.source.value(pointer), early)
  }
  check.text(scenario.name, scenario.at, new Set(['matrix']))
  for (const key of ['input', 'input_channel']) {
    for (const { text, pointer } of textsOf(data[key], `/${key}`))
      check.text(text, reading.source.value(pointer), known)
  }
  for (const { prepare } of checkpointsOf(scenario)) check.steps(prepare, new Set(known), false)
  for (const steps of [scenario.setup, scenario.steps, scenario.teardown]) check.steps(steps, known, false)
}

class VariableCheck {
  readonly #reading: Reading
  readonly #scenario: Scenario

  constructor(reading: Reading, scenario: Scenario) {
    this.#reading = reading
    this.#scenario = scenario
  }

  /** Walks steps in order; every capture is known from the next step on. */
  steps(steps: readonly Step[], known: Set<string>, inLoop: boolean): void {
    for (const step of steps) {
      const here = inLoop ? new Set([...known, 'loop']) : known
      const place = (key: string) => step.keys[key] ?? step.at
      for (const [key, value] of Object.entries(step.params)) {
        for (const { text } of textsOf(value)) this.text(text, place(key), here)
      }
      for (const name of step.on ?? []) this.text(name, place('on'), here)
      for (const key of ['label', 'timeout'] as const) if (step[key]) this.text(step[key], place(key), here)
      if (step.when !== undefined) this.#expression(() => [parseExpression(step.when as string)], place('when'), here)
      if (step.steps) this.steps(step.steps, known, inLoop || step.action === 'loop')
      if (step.capture) known.add(step.capture)
    }
  }

  text(text: string, at: Position, known: ReadonlySet<string>): void {
    if (!isTemplate(text)) return
    this.#expression(() => parseTemplate(text).filter((part) => typeof part !== 'string'), at, known)
  }

  #expression(parse: () => Expression[], at: Position, known: ReadonlySet<string>): void {
    let expressions: Expression[]
    try {
      expressions = parse()
    } catch (error) {
      return this.#reading.problems.thrown(error, at)
    }
    for (const expression of expressions) for (const path of pathsOf(expression)) this.#path(path, at, known)
  }

  #path({ root, parts }: Path, at: Position, known: ReadonlySet<string>): void {
    const undefined_ = (name: string, candidates: Iterable<string>) => {
      const remedy = suggestion(name, [...candidates]) ?? 'write $${ for a literal ${'
      this.#reading.problems.error(
        'ATP_SCENARIO_UNDEFINED',
        at,
        `\${${root}${name === root ? '' : `.${name}`}} is not defined`,
        remedy,
      )
    }
    if (!known.has(root)) return undefined_(root, known)
    if (root !== 'vars' && root !== 'matrix') return
    const values = Object.keys(this.#scenario[root] ?? {})
    const name = String(parts[0] ?? '')
    if (!values.includes(name)) undefined_(name, values)
  }
}
