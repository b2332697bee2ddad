import { assertionError } from '../../core/index.ts'
import { judgeLatency, LATENCY_STATISTICS, type LatencyLimits } from '../../evidence/index.ts'
import { COUNT, type JsonSchema } from '../model/index.ts'
import { defineStep } from '../step-kind.ts'

const LIMIT: JsonSchema = {
  anyOf: [
    { type: 'string', pattern: '^\\s*(<=?)?\\s*(\\d+(\\.\\d+)?(ms|s|m|h))+\\s*$' },
    { type: 'string', pattern: '\\$\\{' },
  ],
  description: 'Highest value that is allowed: 20ms, <20ms',
}

export const expectLatency = defineStep({
  action: 'expect.latency',
  summary:
    'All input of the VM so far took no longer than this; too few samples, or a limit inside the error, fail too',
  params: {
    properties: {
      input: { enum: ['keyboard', 'mouse'], description: 'Whose latency; default keyboard' },
      ...Object.fromEntries(LATENCY_STATISTICS.map((statistic) => [statistic, LIMIT])),
      min_samples: { ...COUNT, description: 'Fewer make it inconclusive, which fails; default 20' },
    },
  },
  needs: ['vm'],
  passive: true,
  async run({ vm }, { input = 'keyboard', min_samples: minSamples, ...limits }) {
    const { deliveries } = input === 'mouse' ? vm.mouse : vm.keyboard
    const what = `the ${String(input)} of ${vm.name}`
    const { pass, text } = judgeLatency(what, deliveries, {
      ...(limits as LatencyLimits),
      ...(minSamples === undefined ? {} : { minSamples: minSamples as number }),
    })
    if (!pass) throw assertionError('ATP_EXPECT_LATENCY', `${what} is too slow: ${text}`, { context: { vm: vm.name } })
    return { note: text, output: text }
  },
})
