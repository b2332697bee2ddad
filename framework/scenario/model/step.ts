import { isMap, recogniseStep, type Entry } from './dialect.ts'
import { paramFaults } from './params.ts'
import { suggestion } from './problem.ts'
import { badValue, readDuration, readText, readTexts, unknownKey, type Reading } from './reading.ts'
import type { Step, StepMeta, Verify } from './scenario.ts'
import { isDuration, type StepSpec } from './step-spec.ts'
import { isTemplate } from './template.ts'

/** Every spelling of what any step may say beside its parameters → the canonical one. */
const META_KEYS: Readonly<Record<string, keyof StepMeta>> = {
  label: 'label',
  name: 'label',
  on: 'on',
  domain: 'on',
  domain_id: 'on',
  vm: 'on',
  vm_id: 'on',
  verify: 'verify',
  timeout: 'timeout',
  timeout_secs: 'timeout',
  retry: 'retry',
  capture: 'capture',
  capture_output: 'capture',
  when: 'when',
  on_failure: 'on_failure',
}

const FORMS = 'action: keyboard.type · type: virtualization_action · virtualization_action: {…} · action: {type: …}'

/** Reads a list of steps of any dialects into canonical records; what cannot be read is reported and left out. */
export function readSteps(reading: Reading, value: unknown, pointer: string, atLeastOne = false): Step[] {
  if (!Array.isArray(value)) {
    badValue(reading, pointer, 'steps must be a list')
    return []
  }
  if (atLeastOne && value.length === 0) badValue(reading, pointer, 'there must be at least one step')
  return value.flatMap((step, index) => readStep(reading, step, `${pointer}/${index}`) ?? [])
}

function readStep(reading: Reading, raw: unknown, pointer: string): Step | undefined {
  const { source, problems, catalog } = reading
  const recognised = isMap(raw) ? recogniseStep(raw, pointer) : undefined
  if (!recognised) {
    const keys = isMap(raw) ? `its keys are ${Object.keys(raw).join(', ') || 'none'}` : `it is ${JSON.stringify(raw)}`
    problems.error(
      'ATP_SCENARIO_STEP_FORM',
      source.value(pointer),
      `this is none of the forms a step may have: ${keys}`,
      FORMS,
    )
    return undefined
  }
  const spec = catalog.find(recognised.name)
  if (!spec) {
    const { verb } = recognised
    const message = `there is no action "${verb}"`
    problems.error(
      'ATP_SCENARIO_UNKNOWN_ACTION',
      source.value(recognised.pointer),
      message,
      suggestion(verb, catalog.actions),
    )
    return undefined
  }
  const step: Step = {
    action: spec.action,
    params: {},
    dialect: recognised.dialect,
    at: source.value(pointer),
    keys: { action: source.value(recognised.pointer) },
  }
  const unknown = recognised.entries.filter((entry) => !readEntry(reading, spec, step, entry))
  checkNeeds(reading, spec, step)
  checkParams(reading, spec, step, recognised.entries, unknown.length > 0)
  return step
}

/** Reads one key of a step; `false` for a key the step kind does not know. */
function readEntry(reading: Reading, spec: StepSpec, step: Step, entry: Entry): boolean {
  const { key, value, pointer } = entry
  const param = spec.paramAliases?.[key] ?? key
  const isParam = Object.hasOwn(spec.params.properties, param) && !(entry.outer && key === 'name')
  const meta = isParam || !Object.hasOwn(META_KEYS, key) ? undefined : META_KEYS[key]
  const canonical = isParam ? param : (meta ?? (spec.nested && key === 'steps' ? 'steps' : undefined))
  if (canonical === undefined) {
    const known = [...Object.keys(spec.params.properties), ...Object.keys(META_KEYS), ...(spec.nested ? ['steps'] : [])]
    unknownKey(reading, key, pointer, known, spec.action)
    return false
  }
  if (Object.hasOwn(step.keys, canonical)) {
    badValue(reading, pointer, `"${key}" says again what another key of this step says already`)
    return true
  }
  step.keys[canonical] = reading.source.value(pointer)
  if (canonical === 'steps') step.steps = readSteps(reading, value, pointer, true)
  else if (meta) readMeta(reading, spec, step, meta, entry)
  else if (isDuration(spec.params.properties[param])) {
    step.params[param] = readDuration(reading, value, pointer, { late: true }) ?? value
  } else step.params[param] = value
  return true
}

function readMeta(
  reading: Reading,
  spec: StepSpec,
  step: Step,
  meta: keyof StepMeta,
  { key, value, pointer }: Entry,
): void {
  switch (meta) {
    case 'label':
    case 'when':
    case 'capture': {
      const text = readText(reading, value, pointer, key)
      if (text === undefined) return
      if (meta === 'capture' && !/^[\p{L}_][\p{L}\p{N}_]*$/u.test(text)) {
        return badValue(reading, pointer, `"${text}" cannot name a captured value`, 'use letters, digits and _')
      }
      step[meta] = text
      return
    }
    case 'on': {
      const names = readTexts(reading, value, pointer, key)
      if (names) step.on = names
      return
    }
    case 'timeout': {
      const timeout = readDuration(reading, value, pointer, { late: true })
      if (timeout) step.timeout = timeout
      return
    }
    case 'verify':
      return readVerify(reading, spec, step, value, pointer)
    case 'retry': {
      const retry = readRetry(reading, value, pointer)
      if (retry) step.retry = retry
      return
    }
    case 'on_failure':
      if (value === 'stop' || value === 'continue') step.on_failure = value
      else badValue(reading, pointer, `on_failure is ${JSON.stringify(value)}; it must be stop or continue`)
  }
}

/** `true` is `require`; `false` is the default, `observe`. */
export function verifyMode(value: unknown): Verify | undefined | 'invalid' {
  if (value === true) return 'require'
  if (value === false) return undefined
  return value === 'off' || value === 'observe' || value === 'require' ? value : 'invalid'
}

function readVerify(reading: Reading, spec: StepSpec, step: Step, value: unknown, pointer: string): void {
  if (isMap(value)) {
    for (const key of Object.keys(value)) {
      if (key !== 'timeout' && key !== 'require')
        unknownKey(reading, key, `${pointer}/${key}`, ['timeout', 'require'], 'verify')
    }
    if (value['require'] !== undefined && value['require'] !== 'all') {
      const message = `verify.require is ${JSON.stringify(value['require'])}; only "all" can be kept`
      reading.problems.error('ATP_SCENARIO_UNSUPPORTED', reading.source.value(`${pointer}/require`), message)
    }
    if (value['timeout'] !== undefined)
      step.timeout ??= readDuration(reading, value['timeout'], `${pointer}/timeout`) ?? '30s'
  }
  const mode = isMap(value) ? 'require' : verifyMode(value)
  if (mode === 'invalid') {
    return badValue(
      reading,
      pointer,
      `verify is ${JSON.stringify(value)}; it must be true, false, off, observe or require`,
    )
  }
  if (!mode) return
  step.verify = mode
  if (mode === 'require' && !spec.verifiable) {
    reading.problems.note(
      'ATP_SCENARIO_NOTHING_TO_VERIFY',
      reading.source.value(pointer),
      `${spec.action} has nothing to verify beyond its own outcome`,
    )
  }
}

/** `2` or `{ times: 2, delay: 1s }`. */
export function readRetry(reading: Reading, value: unknown, pointer: string): StepMeta['retry'] | undefined {
  const times = isMap(value) ? value['times'] : value
  if (typeof times !== 'number' || !Number.isInteger(times) || times < 0) {
    badValue(reading, pointer, `retry is ${JSON.stringify(value)}; it must be a count, or a map with times and delay`)
    return undefined
  }
  if (!isMap(value)) return { times }
  for (const key of Object.keys(value)) {
    if (key !== 'times' && key !== 'delay') unknownKey(reading, key, `${pointer}/${key}`, ['times', 'delay'], 'retry')
  }
  const delay = value['delay'] === undefined ? undefined : readDuration(reading, value['delay'], `${pointer}/delay`)
  return { times, ...(delay ? { delay } : {}) }
}

function checkNeeds(reading: Reading, spec: StepSpec, step: Step): void {
  if (!reading.checkNeeds) return
  for (const need of spec.needs) {
    if (need === 'vm' || need === 'platform') continue
    const message = `${spec.action} needs a driver of applications in the guest; none is configured`
    reading.problems.error('ATP_SCENARIO_NEEDS_APPS', step.keys['action'] ?? step.at, message)
  }
}

function checkParams(
  reading: Reading,
  spec: StepSpec,
  step: Step,
  entries: readonly Entry[],
  hasUnknown: boolean,
): void {
  const { problems, source } = reading
  const pointerOf = (param: string) =>
    entries.find((entry) => (spec.paramAliases?.[entry.key] ?? entry.key) === param)?.pointer
  if (spec.nested && !step.steps) problems.error('ATP_SCENARIO_VALUE', step.at, `${spec.action} needs "steps"`)
  const faults = paramFaults(spec.params, step.params)
  for (const { pointer, message } of faults) {
    const [, param = '', ...rest] = pointer.split('/')
    const written = pointerOf(param)
    // A misspelled key has been reported; that the right one is missing is the same mistake.
    if (hasUnknown && pointer === '') continue
    // A bad duration has been reported already, with a code of its own.
    if (isDuration(spec.params.properties[param])) continue
    const at = written === undefined ? step.at : source.value([written, ...rest].join('/'))
    problems.error('ATP_SCENARIO_VALUE', at, written === undefined ? `${spec.action} ${message}` : message)
  }
  if (faults.length > 0 || !spec.check || !reading.checks) return
  const literal = Object.fromEntries(Object.entries(step.params).filter(([, value]) => !isTemplate(value)))
  for (const found of spec.check(literal, reading.checks)) {
    const at = source.value(pointerOf(found.param) ?? '')
    const place = step.keys[found.param] ? at : step.at
    if (found.error) problems.thrown(found.error, place)
    if (found.note) problems.note('ATP_SCENARIO_DOUBTFUL', place, found.note)
  }
}
