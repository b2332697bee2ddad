import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { stepRegistry } from './default-registry.ts'
import { INPUT_PARAMS } from './kinds/input-options.ts'
import { isDuration, type JsonSchema } from './model/index.ts'
import { objectSchema } from './model/params.ts'
import type { StepRegistry } from './registry.ts'
import type { StepKind } from './step-kind.ts'

const DURATION_TEXT = '^\\s*(\\d+(\\.\\d+)?|(\\d+(\\.\\d+)?(ms|s|m|h))+)\\s*$'
const EXPRESSION = { $ref: '#/definitions/expression' }
const DURATION = { $ref: '#/definitions/duration' }
const text = (description: string) => ({ type: 'string', description })
const oneOrMore = (description: string) => ({
  anyOf: [{ type: 'string' }, { type: 'array', items: { type: 'string' } }],
  description,
})

/** What every step may say beside its parameters, canonical spellings. */
const META: Record<string, JsonSchema> = {
  label: text('Title in reports'),
  on: oneOrMore('Role or name of the VM, or a list of them; default: the current set'),
  verify: { $ref: '#/definitions/verify' },
  timeout: { allOf: [DURATION], description: 'Limit of this step' },
  retry: { $ref: '#/definitions/retry' },
  capture: { type: 'string', pattern: '^[\\p{L}_][\\p{L}\\p{N}_]*$', description: 'Variable that stores the output' },
  when: text("Runs only when this holds: matrix.via == 'qmp'"),
  on_failure: { enum: ['stop', 'continue'], description: 'Default stop' },
}
/** Older spelling → key of {@link META}. */
const OLD_META = {
  name: 'label',
  domain: 'on',
  domain_id: 'on',
  vm: 'on',
  vm_id: 'on',
  timeout_secs: 'timeout',
  capture_output: 'capture',
}
/** By reference: the same in every step. */
const META_REFS = Object.fromEntries(
  [...Object.keys(META).map((name) => [name, name]), ...Object.entries(OLD_META)].map(([spelling, name]) => [
    spelling,
    { $ref: `#/definitions/meta.${name}` },
  ]),
) as Record<string, JsonSchema>
const INPUT_REFS: Record<string, JsonSchema> = Object.fromEntries(
  Object.keys(INPUT_PARAMS).map((name) => [name, { $ref: `#/definitions/input.${name}` }]),
)
const FAMILIES = ['vdi_action', 'virtualization_action', 'wait', 'verify', 'loop']

/**
 * The JSON Schema (draft 7, which editors know best) of scenario files, made from the step registry: completion
 * and descriptions for the canonical form, acceptance of the older ones.
 */
export function scenarioSchema(registry: StepRegistry): JsonSchema {
  const steps = { type: 'array', items: { $ref: '#/definitions/step' }, minItems: 1 }
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    $id: 'urn:ocloudview:atp:scenario:1',
    title: 'ATP scenario',
    type: 'object',
    additionalProperties: false,
    required: ['name', 'steps'],
    properties: {
      $schema: { type: 'string' },
      atp: { const: 1, description: 'Version of this format' },
      id: text('Stable id for reports: TC-1042'),
      name: { ...text('Name of the test'), minLength: 1 },
      description: text('What it is about'),
      tags: oneOrMore('Tags declared in atp.config.ts'),
      meta: { type: 'object', description: 'Free data for reports; knownIssue marks a known failure' },
      timeout: { allOf: [DURATION], description: 'Limit of setup and steps together; default none' },
      vars: { type: 'object', description: 'Values for ${vars.name}' },
      matrix: {
        type: 'object',
        additionalProperties: { type: 'array', minItems: 1 },
        description: 'One test for each combination; ${matrix.name}',
      },
      use: { $ref: '#/definitions/use' },
      target: {
        type: 'object',
        additionalProperties: false,
        properties: { hosts: { $ref: '#/definitions/selector' }, domains: { $ref: '#/definitions/selector' } },
        description: 'VMs that steps without "on" act on',
      },
      input: { $ref: '#/definitions/input' },
      defaults: {
        type: 'object',
        additionalProperties: false,
        properties: { timeout: DURATION, retry: META['retry'], verify: META['verify'] },
        description: 'For all steps',
      },
      setup: { ...steps, minItems: 0, description: 'Runs first' },
      steps: { ...steps, description: 'The test' },
      teardown: { ...steps, minItems: 0, description: 'Always runs, also after failures and timeouts' },
      variables: { type: 'object', description: 'Older spelling of vars' },
      input_channel: { $ref: '#/definitions/input' },
      target_host: { $ref: '#/definitions/selector' },
      target_hosts: { $ref: '#/definitions/selector' },
      target_domain: { $ref: '#/definitions/selector' },
      target_domains: { $ref: '#/definitions/selector' },
      parallel: { type: 'object', description: 'Of older files; only enabled: false is accepted' },
      verification: {
        type: 'object',
        additionalProperties: false,
        properties: {
          ws_addr: text('host:port where the run must listen for agents by WebSocket'),
          tcp_addr: text('The same for TCP'),
          connection_timeout: DURATION,
          vm_id: text('A further name that the agent may give the VM'),
          agent_path: text('Of older files; has no effect'),
          guest_verifier_path: text('Of older files; has no effect'),
          host_interface: text('Of older files; has no effect'),
        },
        description: 'The verifier agent of its VM',
      },
    },
    definitions: { ...shared(), ...stepForms(registry) },
  }
}

function shared(): Record<string, JsonSchema> {
  const wish = {
    profile: text('Machine profile'),
    template: text('Template of the VDI platform; where it has none of this name, a machine profile'),
    platform: { type: 'boolean', description: 'Whether the VDI platform makes it; default where it has the template' },
    labels: oneOrMore('Host labels that must all match'),
    host: text('Exactly this host'),
    ownership: { enum: ['pristine', 'shared', 'attached'] },
    checkpoint: {
      type: 'object',
      additionalProperties: false,
      required: ['name', 'prepare'],
      description: 'A state that a machine is prepared into once in a run, and restored in for each test',
      properties: {
        name: { ...text('For reports; another name is another checkpoint'), minLength: 1 },
        prepare: { type: 'array', minItems: 1, items: { $ref: '#/definitions/step' } },
      },
    },
  }
  const vms = {
    description: 'Roles, or a map from role to what that VM must be',
    anyOf: [
      { type: 'array', items: { type: 'string' } },
      {
        type: 'object',
        additionalProperties: {
          type: ['object', 'null'],
          additionalProperties: false,
          properties: { name: text('Exactly this VM'), ...wish },
        },
      },
    ],
  }
  return {
    expression: {
      type: 'string',
      pattern: '\\$\\{',
      description: '${vars.x}, ${matrix.x}, ${env.X}, ${secret.x}, a captured value, loop.index',
    },
    duration: {
      anyOf: [{ type: 'string', pattern: DURATION_TEXT }, { type: 'number', minimum: 0 }, EXPRESSION],
      description: 'With unit: 500ms, 2s, 1m30s, 1h; a bare number is seconds',
      examples: ['500ms', '2s', '1m30s'],
    },
    verify: {
      description: 'true = require: fail unless the guest saw all of it; observe (default): say what it saw; off',
      anyOf: [
        { enum: [true, false, 'off', 'observe', 'require'] },
        { type: 'object', additionalProperties: false, properties: { timeout: DURATION, require: { const: 'all' } } },
      ],
    },
    retry: {
      description: 'Further attempts after a failure',
      anyOf: [
        { type: 'integer', minimum: 0 },
        {
          type: 'object',
          additionalProperties: false,
          required: ['times'],
          properties: { times: { type: 'integer', minimum: 0 }, delay: DURATION },
        },
      ],
    },
    use: {
      type: 'object',
      additionalProperties: false,
      description: 'Which VMs the test leases, all together',
      properties: {
        vms,
        ...wish,
        locks: oneOrMore('Named locks held with the VMs'),
        pool: {
          type: 'object',
          additionalProperties: false,
          properties: { vms, ...wish },
        },
      },
    },
    selector: {
      anyOf: [
        { type: 'string' },
        { type: 'array', items: { type: 'string' } },
        {
          type: 'object',
          additionalProperties: false,
          properties: {
            mode: { enum: ['single', 'list'] },
            names: oneOrMore('Names'),
            pattern: { type: 'string' },
            exclude: oneOrMore('Names'),
            limit: { type: 'integer' },
          },
        },
      ],
    },
    input: {
      type: 'object',
      additionalProperties: false,
      properties: {
        channel: orExpression({ enum: ['auto', 'qmp', 'spice'], description: 'Which program injects' }),
        observe: { enum: ['auto', 'evdev', 'agent', 'browser'], description: 'Who observes in the guest' },
        channel_type: orExpression({ enum: ['auto', 'qmp', 'spice'] }),
        key_delay: DURATION,
        key_hold: DURATION,
        key_delay_ms: { type: 'number' },
        key_hold_ms: { type: 'number' },
        layout: text('Keyboard layout of the guest; default us'),
      },
    },
  }
}

function stepForms(registry: StepRegistry): Record<string, JsonSchema> {
  const kinds = registry.kinds.filter((kind) => kind.needs.every((need) => need === 'vm' || need === 'platform'))
  const elsewhere = registry.kinds.filter((kind) => !kinds.includes(kind))
  const anything = { type: 'object' }
  return {
    step: {
      anyOf: [
        ...kinds.map((kind) => ({ $ref: `#/definitions/${kind.action}` })),
        { $ref: '#/definitions/elsewhereStep' },
        { $ref: '#/definitions/olderStep' },
      ],
    },
    ...Object.fromEntries(Object.entries(META).map(([name, schema]) => [`meta.${name}`, schema])),
    ...Object.fromEntries(
      Object.entries(INPUT_PARAMS).map(([name, schema]) => [`input.${name}`, orExpression(schema)]),
    ),
    elsewhereStep: {
      description: 'Known steps that need what is not part of this: a SPICE session, an application driver',
      type: 'object',
      required: ['action'],
      properties: { action: { enum: elsewhere.flatMap((kind) => [kind.action, ...kind.aliases]) } },
    },
    ...Object.fromEntries(kinds.map((kind) => [kind.action, stepSchema(kind)])),
    olderStep: {
      description: 'Forms of older files; `atp scenario convert` prints the canonical one',
      anyOf: [
        { type: 'object', required: ['type'], properties: { type: { enum: FAMILIES }, action: { type: 'string' } } },
        ...FAMILIES.map((family) => ({
          type: 'object',
          required: [family],
          properties: { [family]: family === 'wait' ? { anyOf: [anything, DURATION] } : anything, action: false },
        })),
        { type: 'object', required: ['action'], properties: { action: anything } },
        { type: 'object', required: ['action'], properties: { action: { const: 'send_keyboard' } } },
      ],
    },
  }
}

/** The dotted form of one step kind. */
function stepSchema(kind: StepKind): JsonSchema {
  const {
    properties: own,
    required,
    anyOf,
  } = objectSchema(kind.params) as { properties: Record<string, JsonSchema>; required?: string[]; anyOf?: unknown }
  const params = Object.fromEntries(Object.entries(own).map(([name, schema]) => [name, orExpression(schema)]))
  // A parameter may be written in an older spelling, so only kinds without them can demand the new one.
  const old = Object.entries(kind.paramAliases ?? {}).filter(([, name]) => Object.hasOwn(params, name))
  const demanded = (required ?? []).filter((name) => !old.some(([, canonical]) => canonical === name))
  return {
    type: 'object',
    description: kind.summary,
    additionalProperties: false,
    required: ['action', ...demanded, ...(kind.nested ? ['steps'] : [])],
    ...(anyOf === undefined ? {} : { anyOf }),
    properties: {
      action: { enum: [kind.action, ...kind.aliases], description: kind.summary },
      ...META_REFS,
      ...params,
      ...Object.fromEntries(
        Object.keys(INPUT_REFS).flatMap((name) => (own[name] === INPUT_PARAMS[name] ? [[name, INPUT_REFS[name]]] : [])),
      ),
      ...Object.fromEntries(old.map(([alias, name]) => [alias, params[name]])),
      ...(kind.nested ? { steps: { type: 'array', items: { $ref: '#/definitions/step' }, minItems: 1 } } : {}),
    },
  }
}

/** A value may always be an expression instead, which is checked when it is known. */
function orExpression(schema: JsonSchema): JsonSchema {
  if (isDuration(schema))
    return { allOf: [DURATION], ...(schema['description'] ? { description: schema['description'] } : {}) }
  if (
    schema['type'] === 'string' ||
    (schema['type'] === undefined && schema['enum'] === undefined && schema['anyOf'] === undefined)
  )
    return schema
  const { description, ...rest } = schema
  return { ...(description ? { description } : {}), anyOf: [rest, EXPRESSION] }
}

/** The committed text of `schemas/scenario.schema.json`. */
export function scenarioSchemaText(): string {
  return `${JSON.stringify(scenarioSchema(stepRegistry), null, 2)}\n`
}

if (import.meta.main) {
  writeFileSync(fileURLToPath(new URL('../../schemas/scenario.schema.json', import.meta.url)), scenarioSchemaText())
}
