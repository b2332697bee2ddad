import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { isAtpError } from '../../../framework/core/index.ts'
import type { RunEvent } from '../../../framework/evidence/index.ts'
import { assertRunEvent, parseRunEvent, runEventSchema } from '../../../framework/evidence/schema.ts'
import { recordedRun } from '../reporters/recorded-run.ts'

/** Every property present, so that the compiler complains here when the types gain one. */
type Complete<T> = T extends readonly (infer Item)[]
  ? Complete<Item>[]
  : T extends object
    ? string extends keyof T
      ? T
      : { [Key in keyof T]-?: Complete<NonNullable<T[Key]>> }
    : T
type Kind = RunEvent['type']
type Samples = { [K in Kind]: Complete<Extract<RunEvent, { type: K }>> }

const base = { v: 1, time: 1_700_000_000_000 } as const
const ofTest = { ...base, test: 'a > b', attempt: 1 } as const
const location = { file: 'specs/a.spec.ts', line: 3, column: 7 }
const leaf = {
  message: 'no',
  name: 'Error',
  code: 'ATP_X',
  branch: 'remote',
  verdict: 'product',
  context: { a: 1 },
  stack: 's',
  location,
  codeFrame: 'f',
  expected: '1',
  actual: '2',
} as const
const error = { ...leaf, cause: leaf } as unknown as Complete<Extract<RunEvent, { type: 'run.end' }>['errors'][number]>
const vm = { name: 'vm-001', uuid: 'u', host: 'lab-a', ownership: 'pristine', profile: 'linux' } as const
const samples: Samples = {
  'run.start': {
    ...base,
    type: 'run.start',
    run: 'r',
    root: '/p',
    versions: { node: '24' },
    hosts: [{ id: 'a', uri: 'u', capacity: 2, labels: ['x'] }],
  },
  'run.plan': { ...base, type: 'run.plan', files: ['a'], tests: 1, again: true },
  'test.start': {
    ...ofTest,
    type: 'test.start',
    id: 'TC-1',
    name: '名',
    path: ['套'],
    location,
    tags: ['smoke'],
    meta: { a: 1 },
  },
  'test.end': {
    ...ofTest,
    type: 'test.end',
    status: 'failed',
    durationMs: 1.5,
    errors: [error],
    verdict: 'product',
    reason: 'r',
    unverified: 0,
    willRetry: false,
    flaky: true,
    meta: { a: 1 },
  },
  'step.start': { ...ofTest, type: 'step.start', step: '1', parent: '0', title: 't', kind: 'keyboard.type', location },
  'step.end': { ...ofTest, type: 'step.end', step: '1', status: 'passed', durationMs: 1, error, note: 'exit 0' },
  input: {
    ...ofTest,
    type: 'input',
    step: '1',
    vm: 'vm-001',
    delivery: {
      action: 'keyboard.type',
      input: 'a',
      path: { via: 'qmp', device: 'ps2' },
      verify: 'observe',
      outcome: 'unverified',
      reason: 'r',
      observed: { by: 'agent', level: 'kernel' },
      sent: 2,
      seen: 2,
      lost: 0,
      duplicated: 0,
      reordered: 0,
      stuck: ['shift'],
      repeats: 1,
      pointer: { unit: 'pixel', asked: { x: 1, y: 2 }, reached: { x: 1.01, y: 2 }, error: 0.01 },
      differences: ['d'],
      durationMs: 1,
      latenciesMs: [1],
      warmupMs: [9],
      excluded: { held: 1 },
      latency: {
        level: 'kernel',
        samples: 1,
        minMs: 1,
        p50Ms: 1,
        p95Ms: 1,
        p99Ms: 1,
        maxMs: 1,
        boundMs: 0.2,
        loop: { p50Ms: 1, p95Ms: 1, maxMs: 1 },
        clock: 'echo',
      },
    },
  },
  attachment: {
    ...ofTest,
    type: 'attachment',
    step: '1',
    name: 'log',
    contentType: 'text/plain',
    path: '/tmp/x',
    text: 'x',
  },
  metric: { ...ofTest, type: 'metric', step: '1', key: 'k', value: 1, unit: 'ms', boundMs: 0.1, samples: 5 },
  lease: { ...ofTest, type: 'lease', state: 'granted', vms: [vm], waitMs: 5 },
  host: { ...base, type: 'host', host: 'lab-a', state: 'up', detail: 'd', leased: 1, capacity: 2 },
  notice: { ...base, type: 'notice', level: 'info', text: 't' },
  'run.end': {
    ...base,
    type: 'run.end',
    run: 'r',
    exitCode: 0,
    durationMs: 1,
    counts: { passed: 1, failed: 0, broken: 0, skipped: 0, pending: 0 },
    flaky: 0,
    unverified: 0,
    errors: [error],
    leaked: 0,
  },
}

interface Node {
  $ref?: string
  properties?: Record<string, Node>
  required?: string[]
  items?: Node
  oneOf?: Node[]
  const?: unknown
}
const root = runEventSchema as Node & { $defs: Record<string, Node> }
const resolve = (node: Node): Node => (node.$ref ? root.$defs[node.$ref.slice('#/$defs/'.length)]! : node)

/** Property paths of the sample that the schema does not describe, and the other way round. */
function disagreements(node: Node, value: unknown, path: string, out: string[]): string[] {
  const schema = resolve(node)
  if (Array.isArray(value) && schema.items)
    value.forEach((item) => disagreements(schema.items!, item, `${path}[]`, out))
  else if (typeof value === 'object' && value !== null && schema.properties) {
    for (const key of new Set([...Object.keys(value), ...Object.keys(schema.properties)])) {
      const inner = (value as Record<string, unknown>)[key]
      if (!schema.properties[key]) out.push(`${path}.${key} is not in the schema`)
      else if (inner !== undefined) disagreements(schema.properties[key], inner, `${path}.${key}`, out)
      else if (!(path.endsWith('.cause') && key === 'cause')) out.push(`${path}.${key} is not in the types`)
    }
  }
  return out
}

describe('run-events.schema.json', () => {
  const kinds = Object.keys(samples) as Kind[]
  it.each(kinds)('describes exactly the properties %s has', (kind) => {
    const schema = root.oneOf!.map(resolve).find((candidate) => candidate.properties!['type']!.const === kind)!
    expect(disagreements(schema, samples[kind], kind, [])).toEqual([])
  })

  it.each(kinds)('accepts %s with and without its optional properties, refuses it without a required one', (kind) => {
    const schema = root.oneOf!.map(resolve).find((candidate) => candidate.properties!['type']!.const === kind)!
    const full: Record<string, unknown> = { ...samples[kind] }
    if (kind === 'attachment') delete full['text']
    expect(() => assertRunEvent(full)).not.toThrow()
    const needed = new Set([...schema.required!, ...(kind === 'attachment' ? ['path'] : [])])
    expect(() =>
      assertRunEvent(Object.fromEntries(Object.entries(full).filter(([key]) => needed.has(key)))),
    ).not.toThrow()
    for (const key of needed) {
      const { [key]: _, ...rest } = full
      expect(() => assertRunEvent(rest), `without ${key}`).toThrow(/not a run event/)
    }
  })

  it('accepts every event of a recorded run, stored as lines', () => {
    for (const event of recordedRun(mkdtempSync(join(tmpdir(), 'atp-evidence-')))) {
      expect(parseRunEvent(JSON.stringify(event)).type).toBe(event.type)
    }
  })

  it('refuses both or none of path and text, another version, and what is not JSON', () => {
    expect(() => assertRunEvent(samples.attachment)).toThrow(/not a run event/)
    expect(() => assertRunEvent({ ...samples.notice, v: 2 })).toThrow(/version 2.*\/v must be equal to constant/)
    const caught = (() => {
      try {
        return parseRunEvent('{')
      } catch (thrown) {
        return thrown
      }
    })()
    expect(isAtpError(caught, 'ATP_EVIDENCE_EVENT')).toBe(true)
  })
})
