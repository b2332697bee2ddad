import type { Scope } from './expression.ts'
import type { Scenario } from './scenario.ts'
import { fill, isTemplate } from './template.ts'

/** One test of a scenario: the values its matrix takes, and what it is called. */
export interface Combination {
  values: Record<string, unknown>
  title: string
  /** Index into the values of the first dimension. */
  first: number
}

/** Every combination of the matrix in the order written, the last dimension changing fastest. One without a matrix. */
export function combinationsOf(scenario: Scenario): Combination[] {
  let rows: { values: Record<string, unknown>; first: number }[] = [{ values: {}, first: 0 }]
  for (const [dimension, [name, options]] of Object.entries(scenario.matrix ?? {}).entries()) {
    rows = rows.flatMap((row) =>
      options.map((option, index) => ({
        values: { ...row.values, [name]: option },
        first: dimension === 0 ? index : row.first,
      })),
    )
  }
  return rows.map((row) => ({ ...row, title: titleOf(scenario, row.values) }))
}

function titleOf(scenario: Scenario, values: Record<string, unknown>): string {
  if (isTemplate(scenario.name)) return String(fill(scenario.name, combinationScope(scenario, values)))
  const shown = Object.entries(values).map(
    ([name, value]) => `${name}=${typeof value === 'object' ? JSON.stringify(value) : String(value)}`,
  )
  return shown.length === 0 ? scenario.name : `${scenario.name} [${shown.join(', ')}]`
}

/** What is known before the run: `matrix` and `vars`, without the variables that need secrets or the environment. */
export function combinationScope(scenario: Scenario, values: Record<string, unknown>): Scope {
  const matrix: Scope = { get: (root) => (root === 'matrix' ? { value: values } : undefined) }
  const vars = Object.fromEntries(
    Object.entries(scenario.vars ?? {}).map(([name, value]) => {
      try {
        return [name, fill(value, matrix)]
      } catch {
        return [name, value]
      }
    }),
  )
  return {
    get: (root) => {
      if (root === 'matrix') return { value: values }
      if (root === 'vars') return { value: vars }
      return Object.hasOwn(vars, root) ? { value: vars[root] } : undefined
    },
  }
}
