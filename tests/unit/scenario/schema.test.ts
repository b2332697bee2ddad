import { globSync, readFileSync } from 'node:fs'
import { Ajv } from 'ajv'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { scenarioSchema, scenarioSchemaText } from '../../../framework/scenario/generate-schema.ts'
import { loadScenario, printScenario, stepRegistry } from '../../../framework/scenario/index.ts'

const ajv = new Ajv({ strict: false, allErrors: true })
ajv.addFormat('regex', true)
const validate = ajv.compile(scenarioSchema(stepRegistry))
const accepts = (text: string) => validate(parse(text, { version: '1.2', schema: 'core' }))
const step = (text: string) => `name: n\nsteps:\n  - ${text}\n`

describe('schemas/scenario.schema.json', () => {
  it('is what the registry generates now (node framework/scenario/generate-schema.ts)', () => {
    expect(readFileSync('schemas/scenario.schema.json', 'utf8')).toBe(scenarioSchemaText())
  })

  it.each(globSync('specs/**/*.spec.{yaml,json}'))('accepts %s, as written and in canonical form', async (file) => {
    expect(accepts(readFileSync(file, 'utf8'))).toBe(true)
    const { scenario } = await loadScenario(file)
    expect(accepts(printScenario(scenario))).toBe(true)
  })

  it.each([
    '{ action: keyboard.send_text, text: x, domain_id: vm-1, timeout_secs: 3 }',
    '{ action: mouse.click, x: "${vars.x}", y: 1 }',
    '{ action: verify.domain_status, expected_status: running }',
    '{ action: wait, duration: "${vars.d}" }',
    '{ wait: 2s }',
    '{ type: virtualization_action, action: connect, domain_id: vm-1 }',
    '{ virtualization_action: { type: connect } }',
    '{ action: { type: send_key, key: a }, name: l }',
    '{ action: vdi.start_domain }',
    '{ action: send_keyboard, text: x }',
    '{ action: loop, count: 2, steps: [{ action: log, message: 1 }] }',
  ])('accepts %s', (text) => {
    expect(accepts(step(text)), JSON.stringify(validate.errors)).toBe(true)
  })

  it.each([
    '{ action: keyboard.type, txt: x }',
    '{ action: keyboard.type }',
    '{ action: keyboard.tipe, text: x }',
    '{ action: wait, duration: soon }',
    '{ action: loop, count: 2 }',
    '{ action: mouse.click, button: lefft }',
    '{ action: loop, count: 2, steps: [{ action: nothing }] }',
    '{ nothing: here }',
  ])('refuses %s', (text) => {
    expect(accepts(step(text))).toBe(false)
  })

  it('refuses unknown top-level keys and files without steps', () => {
    expect(accepts('name: n\nstepz: []')).toBe(false)
    expect(accepts('name: n')).toBe(false)
  })

  it('describes every action', () => {
    for (const { action, summary } of stepRegistry.kinds) expect(summary, action).not.toBe('')
  })
})
