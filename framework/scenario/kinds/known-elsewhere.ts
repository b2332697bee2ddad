import { unsupportedError } from '../../core/index.ts'
import { defineStep, type StepKind } from '../step-kind.ts'

const OTHERS: readonly [action: string, params: string[], alias: string][] = [
  ['app.open', ['app'], 'open_application'],
  ['file.save', [], 'save_file'],
]

/**
 * Step names that belong to parts which are not here. Files that use them are read, checked and converted; to
 * run them is refused before anything is sent.
 */
export const knownElsewhere: StepKind[] = OTHERS.map(([action, params, alias]) =>
  defineStep({
    action,
    aliases: [alias],
    summary: 'Needs a driver of applications in the guest',
    params: { properties: Object.fromEntries(params.map((name) => [name, {}])) },
    needs: ['apps'],
    run() {
      throw unsupportedError('ATP_SCENARIO_NEEDS_APPS', `${action} needs what is not configured here: apps`)
    },
  }),
)
