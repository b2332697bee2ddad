import { configError } from '../core/index.ts'
import { ScenarioExecutor } from './engine.ts'
import type { Scenario } from './model/index.ts'
import type { ScenarioServices } from './services.ts'

/** What a test runner hands to a scenario: its services, and the signal that ends the test. */
export interface ScenarioFixtures extends Omit<ScenarioServices, 'registry'> {
  signal: AbortSignal
}

/**
 * What the module made from a YAML spec calls: runs one combination of the scenario and rejects with its first
 * failure, whose stack starts with the place in the YAML file.
 */
export async function runScenarioTest(
  scenario: Scenario,
  fixtures: ScenarioFixtures,
  matrix: Record<string, unknown> = {},
): Promise<void> {
  const report = await new ScenarioExecutor(fixtures).execute(scenario, { signal: fixtures.signal, matrix })
  if (!report.passed) throw report.failure
}

/** What the module made from an invalid spec calls. @throws `ATP_SCENARIO_INVALID`, its stack starting in the YAML. */
export function throwInvalidScenario(message: string, context: { file: string; line: number; column: number }): never {
  const error = configError('ATP_SCENARIO_INVALID', message, { context })
  error.stack = `${error.name}: ${message}\n    at ${context.file}:${context.line}:${context.column}`
  throw error
}
