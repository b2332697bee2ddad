import type { Delivery, InputOptions } from '../../input/api.ts'
import type { JsonSchema } from '../model/index.ts'
import type { StepContext, StepOutcome, StepParams } from '../step-kind.ts'

/** Parameters of every input step. */
export const INPUT_PARAMS: Record<string, JsonSchema> = {
  via: { enum: ['auto', 'qmp', 'spice'], description: 'Which program injects' },
  device: { enum: ['auto', 'ps2', 'usb', 'virtio'], description: 'Which virtual device delivers' },
}

export function inputOptions({ verify, input, call }: StepContext, params: StepParams): InputOptions {
  return {
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
  const account = `${seen} of ${sent} events seen`
  if (outcome === 'damaged') return `damaged: ${account} (${faults.filter(Boolean).join(', ') || 'something differs'})`
  return latency ? `${account}, p50 ${latency.p50Ms.toFixed(1)} ± ${latency.boundMs.toFixed(1)} ms` : account
}
