import { assertionError, parseDuration } from '../../core/index.ts'
import { DURATION, NAME, TEXT } from '../model/index.ts'
import { defineStep } from '../step-kind.ts'

/** Parameters that are members of the event as they are. */
const EVENT = {
  type: { ...NAME, description: 'Which verifier: command, keyboard, mouse or a custom one' },
  event: { ...NAME, description: 'What happened, such as keydown; default that of the type' },
  key: { ...NAME, description: 'Key of a keyboard event' },
  x: { type: 'number', description: 'Of a mouse event' },
  y: { type: 'number', description: 'Of a mouse event' },
  button: { ...NAME, description: 'Of a mouse event' },
  command: { ...NAME, description: 'Program of a command event, by path or name; no shell' },
  args: { type: 'array', items: { type: 'string' }, description: 'Its arguments' },
  expected_exit_code: { type: 'integer', description: 'Default: 0' },
  expected_stdout_contains: { ...TEXT, description: 'Text of its output' },
  expected_stderr_contains: { ...TEXT, description: 'Text of its errors' },
  data: { type: 'object', description: 'What a custom verifier needs' },
} as const
const METADATA = ['x', 'y', 'button', 'command', 'args', 'expected_exit_code'] as const
const TEXTS = ['expected_stdout_contains', 'expected_stderr_contains'] as const

export const verifierVerify = defineStep({
  action: 'verifier.verify',
  summary: 'Has the verifier agent in the guest verify an event; capture stores its result',
  params: {
    properties: {
      ...EVENT,
      wait: { ...DURATION, description: 'How long the agent may take; default 5s' },
      level: { enum: ['kernel', 'browser'], description: 'Which agent; default kernel' },
    },
    required: ['type'],
  },
  needs: ['vm'],
  passive: true,
  ownDurationMs: ({ wait }) => parseDuration(wait ?? '5s', 's'),
  async run({ vm, call }, params) {
    const metadata = Object.fromEntries(
      [...METADATA, ...TEXTS].flatMap((name) => (params[name] === undefined ? [] : [[name, params[name]]])),
    )
    const verifier = await vm.verifier({ ...call, level: (params['level'] as 'kernel' | 'browser') ?? 'kernel' })
    const result = await verifier.verify(
      {
        type: params['type'],
        ...(params['event'] === undefined ? {} : { action: params['event'] }),
        ...(params['key'] === undefined ? {} : { key: params['key'] }),
        metadata: {
          ...(params['data'] as object | undefined),
          ...metadata,
          timeout_ms: parseDuration(params['wait'] ?? '5s', 's'),
        },
      },
      call,
    )
    const { verified, latency_ms: latencyMs, details } = result
    if (verified) return { note: `verified by the agent in ${Math.round(latencyMs)} ms`, output: { ...result } }
    throw assertionError(
      'ATP_SCENARIO_NOT_VERIFIED',
      `the verifier agent of ${vm.name} did not verify the ${String(params['type'])} event: ${JSON.stringify(details)}`,
      { context: { vm: vm.name, result } },
    )
  },
})
