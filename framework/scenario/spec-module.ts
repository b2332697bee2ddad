import { addSegment, GenMapping, setSourceContent, toEncodedMap, type EncodedSourceMap } from '@jridgewell/gen-mapping'
import type { AtpError } from '../core/index.ts'
import { combinationsOf, needsOf, type Position, type Scenario, type ScenarioNeeds } from './model/index.ts'
import type { StepRegistry } from './registry.ts'

/** What {@link specModule} puts into the `meta` of each test, beside the author's own. */
export interface ScenarioTestMeta {
  id?: string
  /** The VMs to lease before the test's body runs. */
  needs: ScenarioNeeds
}

// Every step has a limit and the engine keeps the scenario's own; the runner's only backs them up.
const TEST_TIMEOUT_MS = 24 * 3_600_000

/**
 * The test module of a scenario: one `test` for each combination of its matrix, with a source map that leads
 * to the YAML. Tests are found without running the module, so titles and tags are literals and keys are unquoted.
 */
export function specModule(
  scenario: Scenario,
  text: string,
  registry: StepRegistry,
): { code: string; map: EncodedSourceMap } {
  const map = new GenMapping({ file: scenario.file })
  setSourceContent(map, scenario.file, text)
  const lines = [
    "import { test } from '@ocloudview/atp'",
    "import { runScenarioTest } from '@ocloudview/atp/scenario'",
    // Parsed, not a literal: a key like __proto__ stays a key.
    `const record = JSON.parse(${literal(literal(scenario))})`,
  ]
  const point = (column: number, at: Position) => {
    addSegment(map, lines.length, column, scenario.file, at.line - 1, at.column - 1)
  }
  for (const { title, values, first } of combinationsOf(scenario)) {
    const meta: ScenarioTestMeta = {
      ...scenario.meta,
      ...(scenario.id === undefined ? {} : { id: scenario.id }),
      needs: needsOf(scenario, registry, values),
    }
    const options = `{ tags: ${literal(scenario.tags)}, meta: ${literal(meta)}, timeout: ${TEST_TIMEOUT_MS} }`
    const line = `test(${literal(title)}, ${options}, ({ scenario }) => runScenarioTest(record, scenario, ${literal(values)}))`
    point(0, scenario.matrixAt?.[first] ?? scenario.at)
    point(line.indexOf('({ scenario })'), scenario.steps[0]?.at ?? scenario.at)
    lines.push(line)
  }
  return { code: `${lines.join('\n')}\n`, map: toEncodedMap(map) }
}

/**
 * The module of a file that is no valid scenario: loading it throws the error anew. An error of the translation
 * itself would reach the reports without its code and verdict.
 */
export function invalidModule({ message, context }: AtpError): string {
  return `import { throwInvalidScenario } from '@ocloudview/atp/scenario'
throwInvalidScenario(${literal(message)}, ${literal(context)})
`
}

function literal(value: unknown): string {
  return JSON.stringify(value)
}
