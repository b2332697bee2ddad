import type { Delivery, InputOptions } from '../../input/api.ts'
import type { JsonSchema } from '../model/index.ts'
import type { StepContext, StepOutcome, StepParams } from '../step-kind.ts'

/** Parameters of every input step. */
export const INPUT_PARAMS: Record<string, JsonSchema> = {
  via: { enum: ['auto', 'qmp', 'qmp-socket', 'spice'], description: 'Which program injects' },
  device: { enum: ['auto', 'ps2', 'usb', 'virtio'], description: 'Which virtual device delivers' },
  observe: { enum: ['auto', 'evdev', 'agent', 'browser'], description: 'Who observes in the guest' },
}

export function inputOptions({ verify, input, call }: StepContext, params: StepParams): InputOptions {
  const observe = (params['observe'] as InputOptions['observe']) ?? input.observe
  return {
    ...(observe && { observe }),
    via: (params['via'] as InputOptions['via']) ?? input.via,
    device: (params['device'] as InputOptions['device']) ?? 'auto',
    verify,
    ...call,
  }
}

/** The outcome of one or several input actions, with a line that says what the guest saw. */
export function delivered(...deliveries: Delivery[]): StepOutcome {
  return { deliveries, note: deliveries.map(accountOf).join('; ') }
}

/** One line: what the guest saw of an input action. */
export function accountOf(delivery: Delivery): string {
  const { outcome, sent, seen, lost, duplicated, reordered, stuck, latency } = delivery
  if (outcome === 'unverified') return `unverified: ${delivery.reason ?? 'nobody observed'}`
  const faults = [
    lost && `${lost} lost`,
    duplicated && `${duplicated} duplicated`,
    reordered && `${reordered} reordered`,
    stuck.length > 0 && `stuck: ${stuck.join(', ')}`,
  ]
  const more = [pointerOf(delivery), delivery.repeats && `repeated ${delivery.repeats} times`].filter(Boolean)
  const account = [`${seen} of ${sent} events seen`, ...more].join(', ')
  if (outcome === 'damaged') return `damaged: ${account} (${faults.filter(Boolean).join(', ') || 'something differs'})`
  return latency ? `${account}, p50 ${latency.p50Ms.toFixed(1)} ± ${latency.boundMs.toFixed(1)} ms` : account
}

function pointerOf({ pointer }: Delivery): string | undefined {
  if (!pointer) return undefined
  const { reached, error, unit } = pointer
  const digits = unit === 'fraction' ? 4 : unit === 'pixel' ? 2 : 0
  return `${unit === 'count' ? 'by' : 'at'} ${reached.x.toFixed(digits)}, ${reached.y.toFixed(digits)} (${error.toFixed(digits)} off)`
}
