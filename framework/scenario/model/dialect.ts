import type { Dialect } from './scenario.ts'
import { pointerPart } from './source.ts'

/** One key of a step as written. */
export interface Entry {
  key: string
  value: unknown
  pointer: string
  /** Written beside the map that names the action, not inside it. */
  outer: boolean
}

/** A step whose form is known, its action not yet looked up. */
export interface RecognisedStep {
  dialect: Dialect
  /** The action as written, for messages. */
  verb: string
  /** The name to look up among the step kinds. */
  name: string
  /** Where the action is written. */
  pointer: string
  entries: Entry[]
}

const FAMILIES = ['vdi_action', 'virtualization_action', 'wait', 'verify', 'loop'] as const
type Family = (typeof FAMILIES)[number]
type Map_ = Record<string, unknown>

export function isMap(value: unknown): value is Map_ {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/**
 * Recognises the form of one step; the first match wins (scenario reference §6.1).
 * `undefined` when it has none of the forms.
 */
export function recogniseStep(step: Map_, pointer: string): RecognisedStep | undefined {
  const at = (key: string) => pointer + pointerPart(key)
  const family = FAMILIES.find((name) => name === step['type'])
  if (family && !isMap(step['action'])) return flat(step, pointer, family)

  const { action } = step
  if (action === undefined) {
    const holder = FAMILIES.find((name) => isMap(step[name]) || (name === 'wait' && isScalar(step[name])))
    return holder && nested(step, pointer, holder)
  }
  if (typeof action === 'string') {
    const entries = entriesOf(step, pointer, ['action'])
    return { dialect: 'C', verb: action, name: lookupName(action, entries), pointer: at('action'), entries }
  }
  if (!isMap(action)) return undefined
  const outer = entriesOf(step, pointer, ['action'], true)
  if (typeof action['type'] === 'string') {
    const inner = entriesOf(action, at('action'), ['type'])
    const entries = [...inner, ...outer]
    return {
      dialect: 'D',
      verb: action['type'],
      name: lookupName(action['type'], entries),
      pointer: at('action') + pointerPart('type'),
      entries,
    }
  }
  const names = Object.keys(action)
  const verb = names[0]
  if (names.length !== 1 || verb === undefined) return undefined
  const inner = isMap(action[verb]) ? entriesOf(action[verb], at('action') + pointerPart(verb), []) : []
  const entries = [...inner, ...outer]
  return { dialect: 'E', verb, name: lookupName(verb, entries), pointer: at('action') + pointerPart(verb), entries }
}

/** Dialect A: the family in `type`, everything else beside it. */
function flat(step: Map_, pointer: string, family: Family): RecognisedStep | undefined {
  const found = verbOf(family, step, pointer, family === 'verify' ? 'condition' : 'action')
  if (!found) return undefined
  const entries = [...entriesOf(step, pointer, ['type', found.key]), ...found.entries]
  return { dialect: 'A', verb: found.verb, name: nameIn(family, found.verb, entries), pointer: found.pointer, entries }
}

/** Dialect B: the family is the key of a map that holds the verb and its parameters. */
function nested(step: Map_, pointer: string, family: Family): RecognisedStep | undefined {
  const inside = pointer + pointerPart(family)
  const outer = entriesOf(step, pointer, [family], true)
  const inner = step[family]
  if (!isMap(inner)) {
    const entries = [{ key: 'duration', value: inner, pointer: inside, outer: false }, ...outer]
    return { dialect: 'B', verb: family, name: family, pointer: inside, entries }
  }
  const found = verbOf(family, inner, inside, family === 'verify' ? 'condition' : 'type')
  if (!found) return undefined
  const entries = [...entriesOf(inner, inside, [found.key]), ...found.entries, ...outer]
  return { dialect: 'B', verb: found.verb, name: nameIn(family, found.verb, entries), pointer: found.pointer, entries }
}

function verbOf(
  family: Family,
  map: Map_,
  pointer: string,
  key: string,
): { verb: string; key: string; pointer: string; entries: Entry[] } | undefined {
  if (family === 'wait' || family === 'loop') return { verb: family, key: '', pointer, entries: [] }
  const at = pointer + pointerPart(key)
  const verb = map[key]
  if (typeof verb === 'string') return { verb, key, pointer: at, entries: [] }
  // An earlier program wrote verify steps with the condition's parameters inside the condition.
  if (family === 'verify' && isMap(verb) && typeof verb['condition'] === 'string') {
    const inner = entriesOf(verb, at, ['condition'])
    return { verb: verb['condition'], key, pointer: at + pointerPart('condition'), entries: inner }
  }
  return undefined
}

function nameIn(family: Family, verb: string, entries: Entry[]): string {
  if (family === 'vdi_action') return `vdi.${verb}`
  if (family === 'verify') return `verify.${verb}`
  return lookupName(verb, entries)
}

/** `send_keyboard` is three kinds, told apart by what is sent. */
function lookupName(verb: string, entries: readonly Entry[]): string {
  if (verb !== 'send_keyboard') return verb
  const has = (key: string) => entries.some((entry) => entry.key === key)
  if (has('keys')) return 'keyboard.send_keys'
  return has('key') ? 'keyboard.press' : 'keyboard.type'
}

function entriesOf(map: Map_, pointer: string, except: readonly string[], outer = false): Entry[] {
  return Object.entries(map)
    .filter(([key]) => !except.includes(key))
    .map(([key, value]) => ({ key, value, pointer: pointer + pointerPart(key), outer }))
}

function isScalar(value: unknown): boolean {
  return typeof value === 'string' || typeof value === 'number'
}
