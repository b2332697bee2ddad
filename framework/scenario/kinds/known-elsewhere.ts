import { unsupportedError } from '../../core/index.ts'
import type { JsonSchema, StepNeed } from '../model/index.ts'
import { defineStep, type StepKind } from '../step-kind.ts'

const ANY: JsonSchema = {}

const OTHERS: readonly [action: string, need: StepNeed, params: string, aliases: string[]][] = [
  ['usb.redirect', 'spice', 'device', []],
  ['usb.release', 'spice', 'device', []],
  ['app.open', 'apps', 'app', ['open_application']],
  ['file.save', 'apps', '', ['save_file']],
]

/**
 * Step names that belong to parts which are not here. Files that use them are read, checked and converted; to
 * run them is refused before anything is sent.
 */
export const knownElsewhere: StepKind[] = OTHERS.map(([action, need, params, aliases]) =>
  elsewhere(action, need, params, aliases),
)

function elsewhere(action: string, need: StepNeed, params: string, aliases: string[]): StepKind {
  return defineStep({
    action,
    aliases,
    summary: `Needs ${need === 'spice' ? 'a SPICE session' : 'a driver of applications in the guest'}`,
    params: {
      properties: Object.fromEntries(
        params
          .split(' ')
          .filter(Boolean)
          .map((name) => [name, ANY]),
      ),
    },
    needs: [need],
    run() {
      throw unsupportedError(
        `ATP_SCENARIO_NEEDS_${need.toUpperCase()}`,
        `${action} needs what is not configured here: ${need}`,
      )
    },
  })
}
