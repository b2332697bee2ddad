/**
 * Scenarios in YAML and JSON, published as `@ocloudview/atp/scenario`: read them, run them without a test
 * runner, add step kinds.
 */
export { loadScenario, formatProblem, type LoadedScenario, type LoadOptions } from './load.ts'
export { ScenarioExecutor, type ExecuteOptions } from './engine.ts'
export type { ScenarioServices } from './services.ts'
export type { FreezeType, PlatformPool, PlatformVm, PoolVerb, SnapshotVerb, VdiService, VmVerb } from './vdi-service.ts'
export type { PlatformContext } from './platform-context.ts'
export { walkReports, type StepReport, type TestReport } from './report.ts'
export { runScenarioTest, throwInvalidScenario, type ScenarioFixtures } from './run-scenario-test.ts'
export type { ScenarioTestMeta } from './spec-module.ts'
export { registerStep, registerStepHandler, stepRegistry } from './default-registry.ts'
export { StepRegistry } from './registry.ts'
export {
  defineStep,
  type LoopVariables,
  type StepContext,
  type StepHandler,
  type StepKind,
  type StepOutcome,
  type StepParams,
  type VmHistory,
} from './step-kind.ts'
export type { SerialPort, SerialStream } from './serial-port.ts'
export {
  combinationsOf,
  keyOf,
  needsOf,
  printScenario,
  walkSteps,
  type Combination,
  type NeededVm,
  type ParamsSchema,
  type Problem,
  type Scenario,
  type ScenarioNeeds,
  type Step,
  type StepNeed,
  type VmKey,
} from './model/index.ts'
