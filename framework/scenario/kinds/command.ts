import { assertionError, AtpError } from '../../core/index.ts'
import type { ExecResult } from '../../desktop/api.ts'
import { textComplaint, untilHolds, type TextExpectation } from '../expectation.ts'
import { FLAG, NAME, TEXT, TEXT_EXPECTATION, type JsonSchema } from '../model/index.ts'
import { defineStep, type StepContext, type StepParams } from '../step-kind.ts'

const COMMAND_PARAMS: Record<string, JsonSchema> = {
  command: { ...NAME, description: 'A line for the guest shell, or a program when args are given or shell is false' },
  args: { type: 'array', items: TEXT, description: 'Arguments of the program' },
  env: { type: 'object', additionalProperties: TEXT, description: 'Environment variables' },
  input: { ...TEXT, description: 'Standard input' },
  shell: { ...FLAG, description: 'Run the line in the guest shell; default true without args' },
}
const RESULT_PARAMS: Record<string, JsonSchema> = {
  exit_code: { type: 'integer' },
  stdout: TEXT_EXPECTATION,
  stderr: TEXT_EXPECTATION,
}

export const commandExec = defineStep({
  action: 'command.exec',
  aliases: ['execute_command', 'exec_command'],
  summary: 'Runs a command in the guest; with verify its exit code must be 0',
  params: {
    properties: {
      ...COMMAND_PARAMS,
      expect: {
        type: 'object',
        properties: RESULT_PARAMS,
        additionalProperties: false,
        minProperties: 1,
        description: 'What the command must return',
      },
    },
    required: ['command'],
  },
  paramAliases: { cmd: 'command' },
  needs: ['vm'],
  verifiable: true,
  async run(context, params) {
    const result = await execute(context, params, context.call.signal)
    const expected = {
      ...(context.verify === 'require' ? { exit_code: 0 } : {}),
      ...(params['expect'] as object | undefined),
    }
    const complaint = resultComplaint(result, expected)
    if (complaint)
      throw assertionError('ATP_SCENARIO_COMMAND', `${String(params['command'])}: ${complaint}`, {
        context: { vm: context.vm.name },
      })
    return { note: exitOf(result), output: outputOf(result) }
  },
})

export const expectCommand = defineStep({
  action: 'expect.command',
  summary: 'Runs a command again and again until it returns what is expected (exit code 0 by default)',
  params: { properties: { ...COMMAND_PARAMS, ...RESULT_PARAMS }, required: ['command'] },
  needs: ['vm'],
  passive: true,
  expectation: true,
  async run(context, params) {
    let result: ExecResult | undefined
    await untilHolds(context, `${String(params['command'])} in ${context.vm.name}`, async (signal) => {
      result = await execute(context, params, signal)
      return resultComplaint(result, { exit_code: 0, ...params })
    })
    return { note: exitOf(result as ExecResult), output: outputOf(result as ExecResult) }
  },
})

export const verifyCommandSuccess = defineStep({
  action: 'verify.command_success',
  aliases: ['verify_command_success'],
  summary: 'The last command returned 0; where none ran, the last action succeeded and the guest agent answers',
  needs: ['vm'],
  passive: true,
  async run({ vm, history, call }) {
    const { command, action } = history
    if (command) {
      if (command.exitCode === 0) return { note: `checked: the last command (${command.line}) returned 0` }
      const end =
        command.exitCode === undefined ? `was ended by signal ${command.signal}` : `returned ${command.exitCode}`
      throw assertionError(
        'ATP_SCENARIO_COMMAND',
        `the last command in ${vm.name} (${command.line}) ${end}: ${command.stderr.slice(-400)}`,
      )
    }
    if (!action) {
      throw assertionError('ATP_SCENARIO_NOTHING_RAN', `nothing ran in ${vm.name} whose success could be checked`, {
        verdict: 'spec',
      })
    }
    if (!action.passed)
      throw assertionError('ATP_SCENARIO_COMMAND', `the last action in ${vm.name} (${action.name}) failed`)
    await vm.guest.ping(call)
    return { note: `checked: no command ran; ${action.name} succeeded and the guest agent answered` }
  },
})

export const verifyOutputContains = defineStep({
  action: 'verify.output_contains',
  summary: 'The output of the last command contains a text',
  params: {
    properties: {
      text: { ...NAME, description: 'The text to find' },
      stream: { enum: ['stdout', 'stderr', 'both'], description: 'Default both' },
    },
    required: ['text'],
  },
  paramAliases: { contains: 'text', expected: 'text' },
  needs: ['vm'],
  passive: true,
  async run({ vm, history: { command } }, { text, stream = 'both' }) {
    if (!command)
      throw assertionError('ATP_SCENARIO_NOTHING_RAN', `no command ran in ${vm.name} whose output could be checked`, {
        verdict: 'spec',
      })
    const output = stream === 'both' ? `${command.stdout}${command.stderr}` : command[stream as 'stdout' | 'stderr']
    const complaint = textComplaint(`the output of ${command.line}`, output, text as string)
    if (complaint) throw assertionError('ATP_SCENARIO_EXPECTATION', complaint, { context: { vm: vm.name } })
    return { note: `found in the output of ${command.line}` }
  },
})

export const verifyInputReceived = defineStep({
  action: 'verify.input_received',
  summary: 'The guest saw all of the last input once and in order',
  needs: ['vm'],
  passive: true,
  async run({ vm, history: { deliveries } }) {
    if (!deliveries)
      throw assertionError('ATP_SCENARIO_NOTHING_RAN', `no input was sent to ${vm.name}`, { verdict: 'spec' })
    const note = deliveries.map((delivery) => `${delivery.seen} of ${delivery.sent} events seen`).join('; ')
    for (const { outcome, reason, differences } of deliveries) {
      if (outcome === 'damaged')
        throw assertionError('ATP_SCENARIO_INPUT_DAMAGED', `${vm.name}: ${note}; ${differences.join('; ')}`)
      if (outcome === 'unverified') throw unverified(vm.name, reason)
    }
    return { note }
  },
})

/** Verification was demanded and nobody observed: neither the product nor the spec failed. */
export function unverified(vm: string, reason: string | undefined): AtpError {
  return new AtpError(
    'unsupported',
    'ATP_SCENARIO_UNVERIFIED',
    `input to ${vm} could not be verified: ${reason ?? 'nobody observed it'}`,
    {
      verdict: 'infrastructure',
      context: { vm },
    },
  )
}

async function execute(
  { vm, history, call }: StepContext,
  params: StepParams,
  signal: AbortSignal,
): Promise<ExecResult> {
  const line = params['command'] as string
  const args = params['args'] as string[] | undefined
  const options = {
    ...call,
    signal,
    ...(args ? { args } : {}),
    ...(params['env'] ? { env: params['env'] as Record<string, string> } : {}),
    ...(params['input'] === undefined ? {} : { input: params['input'] as string }),
  }
  const shell = params['shell'] ?? args === undefined
  // A command that never ended must not be judged by the one before it.
  delete history.command
  const result = await (shell ? vm.guest.shell(line, options) : vm.guest.exec(line, options))
  const { exitCode, signal: ended, stdoutText, stderrText } = result
  history.command = { line, exitCode, signal: ended, stdout: stdoutText, stderr: stderrText }
  return result
}

function resultComplaint(
  result: ExecResult,
  expected: { exit_code?: number; stdout?: TextExpectation; stderr?: TextExpectation },
): string | undefined {
  if (expected.exit_code !== undefined && result.exitCode !== expected.exit_code) {
    const stderr = result.stderrText.trim()
    return `${exitOf(result)}, expected exit ${expected.exit_code}${stderr ? `; stderr: ${stderr.slice(-400)}` : ''}`
  }
  for (const stream of ['stdout', 'stderr'] as const) {
    const wanted = expected[stream]
    const complaint = wanted === undefined ? undefined : textComplaint(stream, result[`${stream}Text`], wanted)
    if (complaint) return complaint + (result.truncated ? ' (the output was cut)' : '')
  }
  return undefined
}

function exitOf({ exitCode, signal }: ExecResult): string {
  return exitCode === undefined ? `ended by signal ${signal}` : `exit ${exitCode}`
}

function outputOf(result: ExecResult): Record<string, unknown> {
  return { exit_code: result.exitCode, stdout: result.stdoutText, stderr: result.stderrText }
}
