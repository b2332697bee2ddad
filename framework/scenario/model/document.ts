import { isMap } from './dialect.ts'
import { targetProblems } from './needs.ts'
import { Problems } from './problem.ts'
import { badValue, readDuration, readText, readTexts, unknownKey, type Reading } from './reading.ts'
import type { Scenario } from './scenario.ts'
import { parseSource, type Source } from './source.ts'
import type { StepCatalog, TextChecks } from './step-spec.ts'
import { readRetry, readSteps, verifyMode } from './step.ts'
import { isTemplate } from './template.ts'
import { readTarget, readUse } from './use.ts'
import { checkVariables } from './variables.ts'
import { readVerification } from './verification.ts'

export interface ParseOptions {
  /** Path for messages. Default `<text>`. */
  file?: string
  catalog: StepCatalog
  /** Key-table checks; without them texts are not checked. */
  checks?: Omit<TextChecks, 'layout' | 'handler'>
  /** Unknown keys become notes. Default false. */
  lenient?: boolean
  /** Steps that need what nobody provides are errors. Default true. */
  checkNeeds?: boolean
}

export interface ParsedScenario {
  /** Only fit to run when `problems` holds no error. `undefined` when the file is no scenario at all. */
  scenario: Scenario | undefined
  problems: Problems
  source: Source
}

const ALIASES: Readonly<Record<string, string>> = {
  variables: 'vars',
  input_channel: 'input',
  target_host: 'target_hosts',
  target_domain: 'target_domains',
}
const OBSERVERS = ['auto', 'evdev', 'agent', 'browser'] as const
/** Every top-level key, canonical ones first. */
const TOP_KEYS: readonly string[] = (
  'atp id name description tags meta timeout vars matrix use target input defaults setup steps teardown ' +
  'verification parallel target_hosts target_domains $schema'
).split(' ')

/** Reads a scenario of any dialect, YAML or JSON. Never throws for what the file says: see `problems`. */
export function parseScenario(text: string, options: ParseOptions): ParsedScenario {
  const problems = new Problems()
  const source = parseSource(text, options.file ?? '<text>', problems)
  const parsed = { scenario: undefined as Scenario | undefined, problems, source }
  if (problems.errors.length > 0) return parsed
  const { data } = source
  if (!isMap(data)) {
    problems.error('ATP_SCENARIO_VALUE', { line: 1, column: 1 }, 'a scenario is a map with name and steps')
    return parsed
  }
  if (data['steps'] === undefined && Array.isArray(data['hosts'])) {
    const message = 'this is a connection configuration (it lists hosts), not a scenario'
    problems.error('ATP_SCENARIO_VALUE', source.key('/hosts'), message)
    return parsed
  }
  const input = isMap(data['input'] ?? data['input_channel']) ? (data['input'] ?? data['input_channel']) : {}
  const layout = (input as Record<string, unknown>)['layout']
  const checks = options.checks && {
    ...options.checks,
    layout: typeof layout === 'string' ? layout : 'us',
    handler: (name: string) => options.catalog.hasHandler(name),
  }
  const { catalog, lenient = false, checkNeeds = true } = options
  const reading: Reading = { source, problems, catalog, lenient, checkNeeds, checks }
  parsed.scenario = readDocument(reading, data)
  checkVariables(reading, parsed.scenario, data)
  problems.list.push(...targetProblems(parsed.scenario, catalog))
  return parsed
}

function readDocument(reading: Reading, data: Record<string, unknown>): Scenario {
  const { source, problems } = reading
  const scenario: Scenario = {
    file: source.file,
    name: '',
    tags: [],
    setup: [],
    steps: [],
    teardown: [],
    at: source.value('/name'),
  }
  const seen = new Set<string>()
  for (const [key, value] of Object.entries(data)) {
    const canonical = Object.hasOwn(ALIASES, key) ? (ALIASES[key] as string) : key
    const pointer = `/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`
    if (!TOP_KEYS.includes(canonical))
      unknownKey(reading, key, pointer, [...TOP_KEYS, ...Object.keys(ALIASES)], 'a scenario')
    else if (seen.has(canonical)) badValue(reading, pointer, `"${key}" says again what another key says already`)
    else readTop(reading, scenario, canonical, value, pointer)
    seen.add(canonical)
  }
  for (const key of ['name', 'steps']) {
    if (!seen.has(key)) problems.error('ATP_SCENARIO_VALUE', { line: 1, column: 1 }, `the scenario has no "${key}"`)
  }
  return scenario
}

function readTop(reading: Reading, scenario: Scenario, key: string, value: unknown, pointer: string): void {
  switch (key) {
    case 'atp':
      if (value !== 1) badValue(reading, pointer, `atp is ${JSON.stringify(value)}; this program reads version 1`)
      return
    case 'id':
    case 'name':
    case 'description': {
      const text = readText(reading, value, pointer, key)
      if (text !== undefined) scenario[key] = text
      return
    }
    case 'tags':
      scenario.tags = readTexts(reading, value, pointer, 'a tag') ?? []
      return
    case 'timeout': {
      const timeout = readDuration(reading, value, pointer)
      if (timeout) scenario.timeout = timeout
      return
    }
    case 'meta':
    case 'vars':
      if (isMap(value)) scenario[key] = value
      else badValue(reading, pointer, `${key} must be a map`)
      return
    case 'matrix':
      return readMatrix(reading, scenario, value, pointer)
    case 'use':
      scenario.use = readUse(reading, value, pointer)
      return
    case 'target':
    case 'target_hosts':
    case 'target_domains':
      scenario.target = { ...scenario.target, ...readTarget(reading, key, value, pointer) }
      return
    case 'input':
      return readInput(reading, scenario, value, pointer)
    case 'defaults':
      return readDefaults(reading, scenario, value, pointer)
    case 'setup':
    case 'steps':
    case 'teardown':
      scenario[key] = readSteps(reading, value, pointer, key === 'steps')
      return
    case 'parallel':
      if (isMap(value) && value['enabled'] === true) {
        const message = 'running the whole scenario on many targets at once is not supported'
        reading.problems.error(
          'ATP_SCENARIO_UNSUPPORTED',
          reading.source.value(pointer),
          message,
          'use a step "action: parallel"',
        )
      }
      return
    case 'verification': {
      const verification = readVerification(reading, value, pointer)
      if (verification) scenario.verification = verification
    }
  }
}

function readMatrix(reading: Reading, scenario: Scenario, value: unknown, pointer: string): void {
  if (!isMap(value)) return badValue(reading, pointer, 'matrix must be a map of lists')
  const matrix: Record<string, unknown[]> = {}
  for (const [name, values] of Object.entries(value)) {
    if (Array.isArray(values) && values.length > 0) matrix[name] = values
    else badValue(reading, `${pointer}/${name}`, `matrix.${name} must be a list with at least one value`)
  }
  const first = Object.entries(matrix)[0]
  if (!first) return
  scenario.matrix = matrix
  scenario.matrixAt = first[1].map((_, index) => reading.source.value(`${pointer}/${first[0]}/${index}`))
}

function readInput(reading: Reading, scenario: Scenario, value: unknown, pointer: string): void {
  if (!isMap(value)) return badValue(reading, pointer, 'input must be a map')
  const input: NonNullable<Scenario['input']> = {}
  for (const [key, inner] of Object.entries(value)) {
    const at = `${pointer}/${key}`
    if (key === 'channel' || key === 'channel_type') {
      if (inner === 'auto' || inner === 'qmp' || inner === 'spice' || isTemplate(inner)) input.channel = inner
      else badValue(reading, at, `input.${key} is ${JSON.stringify(inner)}; it must be auto, qmp or spice`)
    } else if (key === 'observe') {
      const observe = OBSERVERS.find((each) => each === inner)
      if (observe) input.observe = observe
      else badValue(reading, at, `input.observe is ${JSON.stringify(inner)}; it must be ${OBSERVERS.join(', ')}`)
    } else if (key === 'layout') input.layout = readText(reading, inner, at, 'input.layout') ?? 'us'
    else if (key === 'key_delay' || key === 'key_hold' || key === 'key_delay_ms' || key === 'key_hold_ms') {
      const duration = readDuration(reading, inner, at, { bareUnit: key.endsWith('_ms') ? 'ms' : 's' })
      if (duration) input[key.startsWith('key_delay') ? 'key_delay' : 'key_hold'] = duration
    } else
      unknownKey(
        reading,
        key,
        at,
        ['channel', 'observe', 'key_delay', 'key_hold', 'layout', 'key_delay_ms', 'key_hold_ms'],
        'input',
      )
  }
  scenario.input = input
}

function readDefaults(reading: Reading, scenario: Scenario, value: unknown, pointer: string): void {
  if (!isMap(value)) return badValue(reading, pointer, 'defaults must be a map')
  const defaults: NonNullable<Scenario['defaults']> = {}
  for (const [key, inner] of Object.entries(value)) {
    const at = `${pointer}/${key}`
    if (key === 'timeout') defaults.timeout = readDuration(reading, inner, at) ?? '30s'
    else if (key === 'retry') Object.assign(defaults, { retry: readRetry(reading, inner, at) })
    else if (key === 'verify') {
      const mode = verifyMode(inner)
      if (mode === 'invalid')
        badValue(reading, at, `defaults.verify is ${JSON.stringify(inner)}`, 'true, false, off, observe or require')
      else if (mode) defaults.verify = mode
    } else unknownKey(reading, key, at, ['timeout', 'retry', 'verify'], 'defaults')
  }
  scenario.defaults = defaults
}
