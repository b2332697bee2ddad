import type { TestScopedEvent } from '../../evidence/events.ts'
import type { NeededCheckpoint } from '../../scenario/model/needs.ts'
import type { ScenarioFixtures } from '../../scenario/index.ts'
import type { KeyedCheckpoint } from './checkpoint.ts'
import { runningStep } from './test-scope.ts'

let runs = 0

/** A checkpoint that steps of a scenario prepare, with the services of the test. */
export async function checkpointOfSteps(
  { name, preparation, matrix }: NeededCheckpoint,
  services: Omit<ScenarioFixtures, 'resolveVm' | 'vdi'>,
): Promise<KeyedCheckpoint> {
  const { printScenario, runScenarioTest } = await import('../../scenario/index.ts')
  const { matrix: _, ...once } = preparation
  // Not as it stands in the file: the same steps are the same checkpoint wherever they are written.
  const steps = printScenario(once)
  return {
    name,
    source: JSON.stringify([steps, /\bmatrix\b/.test(steps) ? matrix : {}]),
    prepare: async ({ vm }) => {
      const outer = runningStep()
      const own = `p${++runs}.`
      await runScenarioTest(
        preparation,
        {
          ...services,
          resolveVm: () => vm,
          emit: (event) => services.emit?.(inside(event, own, outer)),
          inStep: (step, work) => (services.inStep ? services.inStep(own + step, work) : work()),
        },
        matrix,
      )
    },
  }
}

/** Steps of a preparation are numbered by themselves; those of the test must not be taken for them. */
function inside(event: TestScopedEvent, own: string, outer: string | undefined): TestScopedEvent {
  if (event.type === 'step.start') {
    const parent = event.parent === undefined ? outer : own + event.parent
    return { ...event, step: own + event.step, ...(parent === undefined ? {} : { parent }) }
  }
  return 'step' in event && event.step !== undefined ? { ...event, step: own + event.step } : event
}
