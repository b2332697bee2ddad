/** The committed field manifest is what the platform's API documents say, and their contradictions stay visible. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { deriveFields, formatManifest } from '../../../scripts/vdi-fields.ts'
import { MODELLED_OPERATIONS } from '../../../scripts/vdi-operations.ts'

const committed = readFileSync(resolve(import.meta.dirname, '../../../schemas/vdi-fields.json'), 'utf8')
const documents = process.env['ATP_API_DOCS']

describe('the committed manifest', () => {
  it('is what the documents say', ({ skip }) => {
    if (!documents) return skip('ATP_API_DOCS names no folder with the API documents of the platform')
    expect(committed).toBe(formatManifest(deriveFields(documents, MODELLED_OPERATIONS)))
  })

  it('has exactly the modelled operations', () => {
    const { operations } = JSON.parse(committed) as { operations: object }
    expect(Object.keys(operations)).toEqual(MODELLED_OPERATIONS)
    expect(new Set(MODELLED_OPERATIONS).size).toBe(MODELLED_OPERATIONS.length)
  })

  it('holds facts only: no text but names', () => {
    expect(committed).toMatch(/^[\x20-\x7E\n]*$/)
    expect(committed).not.toMatch(/"(description|title|summary|example)": "/)
  })
})

describe('derivation', () => {
  const answerSchema = {
    properties: { status: { type: 'integer' }, msg: { type: 'string' }, data: { type: 'string' } },
  }
  const bodyInO = {
    required: ['name', 'amount'],
    properties: { name: { type: 'string' }, amount: { type: 'integer' }, pageNo: { type: 'integer' } },
  }
  const bodyInS = {
    required: ['name'],
    properties: {
      name: { type: 'string' },
      amount: { type: 'string' },
      tags: { type: 'array', items: { type: 'string' } },
    },
  }
  const inO = {
    openapi: '3.0.3',
    paths: {
      '/pool': {
        post: {
          requestBody: { content: { 'application/json': { schema: { $ref: '#/components/schemas/Pool' } } } },
          responses: { 200: { content: { '*/*': { schema: { $ref: '#/components/schemas/Answer«string»' } } } } },
        },
      },
    },
    components: { schemas: { Pool: bodyInO, 'Answer«string»': answerSchema } },
  }
  const inS = {
    swagger: '2.0',
    paths: {
      '/pool': {
        post: {
          deprecated: true,
          parameters: [
            { in: 'body', name: 'dto', schema: { $ref: '#/definitions/Pool' } },
            { in: 'query', name: 'dryRun', required: true, type: 'boolean' },
          ],
          responses: { 200: { schema: { $ref: '#/definitions/Answer«string»' } } },
        },
      },
    },
    definitions: { Pool: bodyInS, 'Answer«string»': answerSchema },
  }

  function folderOf(...contents: object[]): string {
    const folder = mkdtempSync(join(tmpdir(), 'vdi-fields-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    contents.forEach((content, index) => writeFileSync(join(folder, `${index}.json`), JSON.stringify(content)))
    return folder
  }

  it('names the document wherever the two differ', () => {
    expect(deriveFields(folderOf(inO, inS), ['POST /pool'])).toEqual({
      operations: {
        'POST /pool': {
          deprecated: 'S',
          query: { dryRun: { type: 'boolean', required: true, in: 'S' } },
          body: 'Pool',
          answer: { envelope: 'R', data: 'string' },
        },
      },
      schemas: {
        Pool: {
          amount: { type: { O: 'integer', S: 'string' }, required: 'O' },
          name: { type: 'string', required: true },
          pageNo: { type: 'integer', in: 'O' },
          tags: { type: 'string[]', in: 'S' },
        },
      },
    })
  })

  it('writes JSON that reads back the same, one line a field', () => {
    const manifest = deriveFields(folderOf(inO, inS), ['POST /pool'])
    const text = formatManifest(manifest)
    expect(JSON.parse(text)).toEqual(manifest)
    expect(text).toContain('\n      "amount": { "type": { "O": "integer", "S": "string" }, "required": "O" },\n')
  })

  it.each([
    ['an operation in neither document', [inO, inS], ['GET /pool'], 'neither document has GET /pool'],
    ['a missing document', [inO], ['POST /pool'], 'must hold an OpenAPI 3 and a Swagger 2 document'],
  ])('refuses %s', (_case, contents, modelled, message) => {
    expect(() => deriveFields(folderOf(...contents), modelled)).toThrow(message)
  })
})
