import { isMap } from './dialect.ts'
import { badValue, readText, readTexts, unknownKey, type Reading } from './reading.ts'
import { walkSteps, type Scenario, type ScenarioCheckpoint, type Use, type VmWish } from './scenario.ts'
import { readSteps } from './step.ts'
import { isTemplate } from './template.ts'

const WISH_KEYS = ['profile', 'template', 'platform', 'labels', 'host', 'ownership', 'checkpoint'] as const
const OWNERSHIPS = ['pristine', 'shared', 'attached']

/** Reads `use`: `{ vms: [alice, bob], profile }`, `{ vms: { alice: { profile } } }` or `{ pool: { template, vms } }`. */
export function readUse(reading: Reading, value: unknown, pointer: string): Use {
  const use: Use = {}
  if (!isMap(value)) {
    badValue(reading, pointer, 'use must be a map')
    return use
  }
  for (const [key, inner] of Object.entries(value)) {
    const at = `${pointer}/${key}`
    if (key === 'pool') readPool(reading, use, inner, at)
    else if (key === 'vms') use.vms = readVms(reading, inner, at)
    else if (key === 'locks') use.locks = readTexts(reading, inner, at, 'a lock') ?? []
    else if (!readWish(reading, use, key, inner, at)) {
      unknownKey(reading, key, at, ['pool', 'vms', 'locks', ...WISH_KEYS], 'use')
    }
  }
  return use
}

function readPool(reading: Reading, use: Use, value: unknown, pointer: string): void {
  if (!isMap(value)) return badValue(reading, pointer, 'use.pool must be a map')
  for (const [key, inner] of Object.entries(value)) {
    const at = `${pointer}/${key}`
    if (key === 'vms') use.vms = readVms(reading, inner, at)
    else if (!readWish(reading, use, key, inner, at)) {
      unknownKey(reading, key, at, ['vms', ...WISH_KEYS], 'use.pool')
    }
  }
}

function readVms(reading: Reading, value: unknown, pointer: string): NonNullable<Use['vms']> {
  if (Array.isArray(value)) {
    const roles = readTexts(reading, value, pointer, 'a role') ?? []
    return Object.fromEntries(roles.map((role) => [role, {}]))
  }
  const vms: NonNullable<Use['vms']> = {}
  if (!isMap(value))
    badValue(reading, pointer, 'vms must be a list of roles, or a map from role to what the VM must be')
  else {
    for (const [role, wishes] of Object.entries(value)) {
      const vm: VmWish & { name?: string } = (vms[role] = {})
      for (const [key, inner] of Object.entries(isMap(wishes) ? wishes : {})) {
        const at = `${pointer}/${role}/${key}`
        if (key === 'name') Object.assign(vm, { name: readText(reading, inner, at, 'name') })
        else if (!readWish(reading, vm, key, inner, at))
          unknownKey(reading, key, at, ['name', ...WISH_KEYS], `the VM "${role}"`)
      }
    }
  }
  return vms
}

function readWish(reading: Reading, wish: VmWish, key: string, value: unknown, pointer: string): boolean {
  if (key === 'labels') wish.labels = readTexts(reading, value, pointer, 'a label') ?? []
  else if (key === 'profile' || key === 'template' || key === 'host')
    Object.assign(wish, { [key]: readText(reading, value, pointer, key) })
  else if (key === 'platform') {
    if (typeof value === 'boolean') wish.platform = value
    else badValue(reading, pointer, `platform is ${JSON.stringify(value)}; it must be true or false`)
  } else if (key === 'checkpoint') {
    const checkpoint = readCheckpoint(reading, value, pointer)
    if (checkpoint) wish.checkpoint = checkpoint
  } else if (key === 'ownership') {
    if (OWNERSHIPS.includes(value as string) || isTemplate(value)) Object.assign(wish, { ownership: value })
    else badValue(reading, pointer, `ownership is ${JSON.stringify(value)}; it must be ${OWNERSHIPS.join(', ')}`)
  } else return false
  return true
}

/** Reads `checkpoint: { name, prepare: [steps] }`. */
function readCheckpoint(reading: Reading, value: unknown, pointer: string): ScenarioCheckpoint | undefined {
  if (!isMap(value)) {
    badValue(reading, pointer, 'checkpoint must be a map with name and prepare')
    return undefined
  }
  for (const key of Object.keys(value)) {
    const known = ['name', 'prepare']
    if (!known.includes(key)) unknownKey(reading, key, `${pointer}/${key}`, known, 'a checkpoint')
  }
  const name = readText(
    reading,
    value['name'],
    'name' in value ? `${pointer}/name` : pointer,
    'the name of a checkpoint',
  )
  const prepare = readSteps(reading, value['prepare'], 'prepare' in value ? `${pointer}/prepare` : pointer, true)
  for (const step of walkSteps(prepare)) {
    if (!step.on) continue
    const at = step.keys['on'] ?? step.at
    const message = 'a checkpoint is prepared on one machine: its steps name none'
    reading.problems.error('ATP_SCENARIO_VALUE', at, message, 'leave "on" out')
  }
  return name === undefined ? undefined : { name, prepare }
}

/** Reads `target: { hosts, domains }` or the older `target_host(s)` and `target_domain(s)`. */
export function readTarget(
  reading: Reading,
  key: string,
  value: unknown,
  pointer: string,
): NonNullable<Scenario['target']> {
  if (key === 'target_hosts') return hostsOf(reading, value, pointer)
  if (key === 'target_domains') return domainsOf(reading, value, pointer)
  if (!isMap(value)) {
    badValue(reading, pointer, 'target must be a map with hosts and domains')
    return {}
  }
  let target: NonNullable<Scenario['target']> = {}
  for (const [inner, selector] of Object.entries(value)) {
    const at = `${pointer}/${inner}`
    if (inner === 'hosts') target = { ...target, ...hostsOf(reading, selector, at) }
    else if (inner === 'domains') target = { ...target, ...domainsOf(reading, selector, at) }
    else unknownKey(reading, inner, at, ['hosts', 'domains'], 'target')
  }
  return target
}

function hostsOf(reading: Reading, value: unknown, pointer: string): NonNullable<Scenario['target']> {
  const names = select(reading, value, pointer)
  if (!names) return {}
  if (names.length > 1) {
    const message = 'a scenario runs on one host; it names several'
    reading.problems.error(
      'ATP_SCENARIO_UNSUPPORTED',
      reading.source.value(pointer),
      message,
      'give roles hosts of their own under use.vms',
    )
  }
  return names[0] === undefined ? {} : { hosts: names[0] }
}

function domainsOf(reading: Reading, value: unknown, pointer: string): NonNullable<Scenario['target']> {
  const names = select(reading, value, pointer)
  return names ? { domains: names } : {}
}

/** The names a selector lists. VMs are leased by name before a run, so patterns cannot be offered. */
function select(reading: Reading, value: unknown, pointer: string): string[] | undefined {
  const map = isMap(value) ? value : undefined
  const { mode } = map ?? {}
  for (const key of Object.keys(map ?? {})) {
    const known = ['mode', 'names', 'pattern', 'exclude', 'limit']
    if (!known.includes(key)) unknownKey(reading, key, `${pointer}/${key}`, known, 'a selector')
  }
  const names = map
    ? readTexts(reading, map['names'] ?? map['pattern'] ?? [], pointer, 'a name')
    : readTexts(reading, value, pointer, 'a name')
  const listed = map ? mode === 'list' || mode === 'single' : true
  if (!names || !listed || names.some((name) => /[*?]/.test(name)) || names.length === 0) {
    const message = 'patterns cannot select machines: a scenario leases the VMs it names'
    reading.problems.error('ATP_SCENARIO_UNSUPPORTED', reading.source.value(pointer), message, 'list the names')
    return undefined
  }
  const excluded = readTexts(reading, map?.['exclude'] ?? [], pointer, 'a name') ?? []
  const limit = typeof map?.['limit'] === 'number' ? map['limit'] : mode === 'single' ? 1 : Infinity
  return names.filter((name) => !excluded.includes(name)).slice(0, limit)
}
