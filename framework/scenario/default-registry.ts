import { builtInKinds } from './kinds/index.ts'
import { StepRegistry } from './registry.ts'
import type { StepHandler, StepKind } from './step-kind.ts'

/** The registry of this process: all built-in step kinds and what plug-ins add. */
export const stepRegistry = new StepRegistry()
for (const kind of builtInKinds) stepRegistry.register(kind)

/** Adds a step kind to {@link stepRegistry}; returns the function that removes it. */
export function registerStep(kind: StepKind): () => void {
  stepRegistry.register(kind)
  return () => void stepRegistry.unregister(kind.action)
}

/** Adds a handler for `custom` and `verify.custom` steps; returns the function that removes it. */
export function registerStepHandler(name: string, handler: StepHandler): () => void {
  stepRegistry.registerHandler(name, handler)
  return () => void stepRegistry.unregisterHandler(name)
}
