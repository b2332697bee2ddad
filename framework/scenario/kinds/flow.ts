import pLimit from 'p-limit'
import { assertionError, configError, parseDuration, sleep } from '../../core/index.ts'
import { COUNT, DURATION, NAME } from '../model/index.ts'
import { defineStep, type StepContext, type StepHandler, type StepOutcome } from '../step-kind.ts'

export const wait = defineStep({
  action: 'wait',
  summary: 'Waits; expectations that wait for a condition are faster and safer',
  params: { properties: { duration: DURATION }, required: ['duration'] },
  ownDurationMs: ({ duration }) => parseDuration(duration, 's'),
  run: ({ call }, { duration }) => sleep(parseDuration(duration, 's'), call.signal),
})

export const log = defineStep({
  action: 'log',
  summary: 'Writes a line into the report',
  params: {
    properties: { message: { type: ['string', 'number', 'boolean'], description: 'The line' } },
    required: ['message'],
  },
  paramAliases: { text: 'message' },
  run: async (_, { message }) => ({ note: String(message) }),
})

// A holder of steps sets no limit of its own: each step inside has one.
const unlimited = () => Infinity

export const group = defineStep({
  action: 'group',
  summary: 'Runs steps under one title, condition, retry or time limit',
  nested: true,
  ownDurationMs: unlimited,
  run: ({ step, runSteps }) => runSteps(step.steps ?? []),
})

export const loop = defineStep({
  action: 'loop',
  summary: 'Repeats steps count times, or over a list; loop.index, loop.number and loop.item are set inside',
  params: {
    properties: {
      count: { type: 'integer', minimum: 0, description: 'How often' },
      over: { type: 'array', description: 'One round for each item' },
      interval: { ...DURATION, description: 'Pause between rounds' },
    },
    requireOne: ['count', 'over'],
  },
  nested: true,
  ownDurationMs: unlimited,
  async run({ step, runSteps, call }, { count, over, interval }) {
    const items = over as unknown[] | undefined
    const rounds = items ? items.length : (count as number)
    for (let index = 0; index < rounds; index++) {
      if (index > 0 && interval !== undefined) await sleep(parseDuration(interval, 's'), call.signal)
      await runSteps(step.steps ?? [], { loop: { index, number: index + 1, ...(items ? { item: items[index] } : {}) } })
    }
    return { note: `${rounds} rounds`, output: rounds }
  },
})

export const parallel = defineStep({
  action: 'parallel',
  summary: 'Runs its steps at the same time; all run to their end even if one fails',
  params: { properties: { max_concurrent: { ...COUNT, description: 'Default 10' } } },
  paramAliases: { concurrency: 'max_concurrent', max_concurrency: 'max_concurrent' },
  nested: true,
  ownDurationMs: unlimited,
  async run({ step, runSteps }, { max_concurrent = 10 }) {
    const limit = pLimit(max_concurrent as number)
    const branches = (step.steps ?? []).map((inner) => limit(() => runSteps([inner], { fork: true })))
    const results = await Promise.allSettled(branches)
    const failed = results.filter((result) => result.status === 'rejected')
    if (failed.length > 0) throw failed[0]?.reason
    return { note: `${branches.length} branches` }
  },
})

export const scenarioRun = defineStep({
  action: 'scenario.run',
  summary: 'Runs another scenario file with the same VMs',
  params: {
    properties: {
      file: { ...NAME, description: 'Path relative to this file' },
      vars: { type: 'object', description: 'Variables for it' },
    },
    required: ['file'],
  },
  ownDurationMs: unlimited,
  async run({ step, runScenario }, { file, vars }) {
    if (!step.scenario)
      throw configError('ATP_SCENARIO_FILE', `${String(file)} was not read before the run`, {
        remedy: 'read the scenario with loadScenario',
      })
    await runScenario(step.scenario, (vars as Record<string, unknown> | undefined) ?? {})
    return { note: step.scenario.name }
  },
})

/** `custom` acts, `verify.custom` only looks; both call a handler that a plug-in registered. */
export const [custom, verifyCustom] = (['custom', 'verify.custom'] as const).map((action) =>
  defineStep({
    action,
    aliases: action === 'custom' ? [] : ['verify_custom'],
    summary: action === 'custom' ? "Calls a plug-in's handler" : "Asks a plug-in's handler; false fails the step",
    params: {
      properties: {
        handler: { ...NAME, description: 'Name the plug-in registered' },
        data: { description: 'What the handler gets' },
      },
    },
    takesVm: true,
    passive: action === 'verify.custom',
    check(params, checks) {
      const { handler } = params
      if (typeof handler === 'string' && checks.handler(handler)) return []
      const message =
        handler === undefined ? `${action} names no handler` : `no handler "${String(handler)}" is registered`
      return [
        {
          param: 'handler',
          error: configError('ATP_SCENARIO_NO_HANDLER', message, { remedy: 'name one that a plug-in registers' }),
        },
      ]
    },
    run: (context, { handler, data }) => callHandler(context, String(handler), data),
  }),
) as [ReturnType<typeof defineStep>, ReturnType<typeof defineStep>]

async function callHandler(context: StepContext, name: string, data: unknown): Promise<StepOutcome | void> {
  const handler: StepHandler = context.handler(name)
  const outcome = await handler(context, data)
  if (outcome === false)
    throw assertionError('ATP_SCENARIO_CUSTOM', `the handler "${name}" said no`, { context: { handler: name } })
  return typeof outcome === 'object' ? outcome : { note: `handler ${name}` }
}
