import { stringify } from 'yaml'
import type { Scenario, Step, Use, VmWish } from './scenario.ts'

/** The canonical YAML of a scenario. Reading it again gives the same records. */
export function printScenario(scenario: Scenario): string {
  const { id, name, description, tags, meta, timeout, vars, matrix, use, target, input, verification, defaults } =
    scenario
  const steps = (list: readonly Step[]) => (list.length > 0 ? list.map(stepOf) : undefined)
  const document = present({
    atp: 1,
    id,
    name,
    description,
    tags: tags.length > 0 ? tags : undefined,
    meta,
    timeout,
    vars,
    matrix,
    use: use && useOf(use),
    target,
    input,
    verification,
    defaults,
    setup: steps(scenario.setup),
    steps: scenario.steps.map(stepOf),
    teardown: steps(scenario.teardown),
  })
  // Aliases would tie steps together that only happened to be written once.
  return stringify(document, { aliasDuplicateObjects: false, lineWidth: 0, version: '1.2', schema: 'core' })
}

function useOf({ vms, ...wish }: Use): Record<string, unknown> {
  const roles = Object.entries(vms ?? {}).map(([role, own]) => [role, wishOf(own)])
  return { ...wishOf(wish), ...(vms && { vms: Object.fromEntries(roles) }) }
}

function wishOf({ checkpoint, ...wish }: VmWish): Record<string, unknown> {
  if (!checkpoint) return wish
  return { ...wish, checkpoint: { ...checkpoint, prepare: checkpoint.prepare.map(stepOf) } }
}

function stepOf(step: Step): Record<string, unknown> {
  const { action, label, on, params, verify, timeout, retry, capture, when, on_failure, steps } = step
  return present({
    action,
    label,
    on: on?.length === 1 ? on[0] : on,
    ...params,
    verify,
    timeout,
    retry: retry && !retry.delay ? retry.times : retry,
    capture,
    when,
    on_failure,
    steps: steps?.map(stepOf),
  })
}

function present(map: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(map).filter(([, value]) => value !== undefined))
}
