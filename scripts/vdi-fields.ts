/**
 * `node scripts/vdi-fields.ts <folder>`: derives `schemas/vdi-fields.json`, the field manifest of the VDI platform,
 * from the two API documents of the platform in that folder: one OpenAPI 3 file ("O") and one Swagger 2 file ("S").
 *
 * The manifest holds facts only: which operations exist, what their parameters, bodies and answers are called, and
 * their JSON types. Where the documents differ, each value names the document it is from.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { MODELLED_OPERATIONS } from './vdi-operations.ts'

/** A document: O is the OpenAPI 3 one, S the Swagger 2 one. */
export type DocumentName = 'O' | 'S'

/** One value where both documents agree or only one has it, else one each. */
export type ByDocument<T> = T | Record<DocumentName, T>

/** A JSON type (`string`, `integer`, `number`, `boolean`, `object`, `binary`) or a schema, with `[]` for an array and
 * `map<…>` for an object whose keys are free. */
export type TypeName = string

/** A parameter, or a field of a schema. */
export interface FieldFact {
  type: ByDocument<TypeName>
  /** True if every document that has it marks it required, the one that does if they differ; else absent. */
  required?: true | DocumentName
  /** The only document that has it, although both have what it is part of; else absent. */
  in?: DocumentName
}

/** How an answer wraps its payload, by the fields of its outermost object. */
export type EnvelopeName =
  /** `status`, `msg`, `data`. */
  | 'R'
  /** `status`, `msg`. */
  | 'B'
  /** `returnCode`, `msg`, `data`, and `status` in one document. */
  | 'U'
  /** The flat answer of the older end-user login; `data` names its schema. */
  | 'C'
  /** No documented content. */
  | 'file'

export interface AnswerFact {
  envelope: EnvelopeName
  /** Type of the payload; absent for B and files. */
  data?: ByDocument<TypeName>
}

export interface OperationFact {
  /** The only document that has the operation; absent if both do. */
  in?: DocumentName
  /** True if every document that has the operation marks it deprecated, the one that does if they differ. */
  deprecated?: true | DocumentName
  path?: Record<string, FieldFact>
  query?: Record<string, FieldFact>
  body?: ByDocument<TypeName>
  answer: AnswerFact
}

/** `schemas/vdi-fields.json`. */
export interface FieldManifest {
  /** By `METHOD /path`. */
  operations: Record<string, OperationFact>
  /** Fields by schema name, for all schemas that an operation reaches. */
  schemas: Record<string, Record<string, FieldFact>>
}

/** What both document formats write for a type; Swagger 2 writes it into the parameter itself. */
interface SchemaNode {
  $ref?: string
  type?: string
  format?: string
  items?: SchemaNode
  properties?: Record<string, SchemaNode>
  required?: string[]
  additionalProperties?: SchemaNode
}
interface ParameterNode extends Omit<SchemaNode, 'required'> {
  name: string
  in: string
  required?: boolean
  schema?: SchemaNode
}
interface OperationNode {
  deprecated?: boolean
  parameters?: ParameterNode[]
  requestBody?: { content: Record<string, { schema: SchemaNode }> }
  responses: Record<string, { schema?: SchemaNode; content?: Record<string, { schema?: SchemaNode }> }>
}
interface ApiDocument {
  paths: Record<string, Record<string, OperationNode>>
  components?: { schemas: Record<string, SchemaNode> }
  definitions?: Record<string, SchemaNode>
}

/** What one document says about an operation. */
interface Reading {
  deprecated: boolean
  path: Map<string, FieldReading>
  query: Map<string, FieldReading>
  body: TypeName | undefined
  answer: { envelope: EnvelopeName; data: TypeName | undefined }
}
interface FieldReading {
  type: TypeName
  required: boolean
}

class DocumentReader {
  readonly #document: ApiDocument
  readonly #schemas: Record<string, SchemaNode>

  constructor(document: ApiDocument) {
    this.#document = document
    this.#schemas = document.components?.schemas ?? document.definitions ?? {}
  }

  /** The operation, or undefined if this document does not have it. */
  operation(key: string): Reading | undefined {
    const [method = '', path = ''] = key.split(' ')
    const node = this.#document.paths[path]?.[method.toLowerCase()]
    if (!node) return undefined
    const parameters = node.parameters ?? []
    const fields = (place: string) =>
      new Map(
        parameters
          .filter((parameter) => parameter.in === place)
          .map(({ required = false, schema, ...inline }) => [
            inline.name,
            { type: this.#type(schema ?? inline), required },
          ]),
      )
    const body =
      Object.values(node.requestBody?.content ?? {})[0]?.schema ??
      parameters.find(({ in: at }) => at === 'body')?.schema
    return {
      deprecated: node.deprecated === true,
      path: fields('path'),
      query: fields('query'),
      body: body && this.#type(body),
      answer: this.#answer(node),
    }
  }

  /** Fields of a schema, or undefined if this document does not have it. `name` is as in the manifest. */
  schema(name: string): Map<string, FieldReading> | undefined {
    const node = this.#schemas[name.replaceAll('<', '«').replaceAll('>', '»')]
    if (!node) return undefined
    return new Map(
      Object.entries(node.properties ?? {}).map(([field, value]) => [
        field,
        { type: this.#type(value), required: node.required?.includes(field) ?? false },
      ]),
    )
  }

  #answer(node: OperationNode): Reading['answer'] {
    const ok = node.responses['200']
    const schema = ok?.schema ?? Object.values(ok?.content ?? {})[0]?.schema
    if (!schema) return { envelope: 'file', data: undefined }
    const name = this.#type(schema)
    const fields = this.schema(name)
    if (!fields) throw new Error(`the answer ${name} is in no schema list`)
    const data = fields.get('data')?.type
    const has = (...names: string[]) => names.every((field) => fields.has(field))
    if (has('returnCode', 'msg', 'data')) return { envelope: 'U', data }
    if (has('returnCode', 'msg')) return { envelope: 'C', data: name }
    if (has('status', 'msg', 'data')) return { envelope: 'R', data }
    if (has('status', 'msg')) return { envelope: 'B', data: undefined }
    throw new Error(`the answer ${name} has no known envelope`)
  }

  #type(node: SchemaNode): TypeName {
    if (node.$ref) return node.$ref.replace(/^.*\//, '').replaceAll('«', '<').replaceAll('»', '>')
    if (node.type === 'array') return `${node.items ? this.#type(node.items) : 'object'}[]`
    if (node.additionalProperties) return `map<${this.#type(node.additionalProperties)}>`
    if (node.format === 'binary' || node.type === 'file') return 'binary'
    return node.type ?? 'object'
  }
}

/** The schema that a type refers to, or undefined if it is made of JSON types only. */
function schemaOf(type: TypeName): string | undefined {
  const bare = type.replace(/(\[\])+$/, '')
  const value = /^map<(.*)>$/.exec(bare)?.[1]
  if (value !== undefined) return schemaOf(value)
  return ['string', 'integer', 'number', 'boolean', 'object', 'binary'].includes(bare) ? undefined : bare
}

/** One value of two readings; `undefined` stands for "this document does not have the thing at all". */
function merge<T>(o: T | undefined, s: T | undefined): ByDocument<T> {
  if (o === undefined || s === undefined || o === s) return (o ?? s) as T
  return { O: o, S: s }
}

/** Who says so; a document that does not have the thing at all contradicts nobody. */
function whoSays(o: boolean | undefined, s: boolean | undefined): true | DocumentName | undefined {
  if (!o && !s) return undefined
  if ((o ?? true) && (s ?? true)) return true
  return o ? 'O' : 'S'
}

/** The only document that has a thing that at least one has. */
function onlyIn(o: unknown, s: unknown): DocumentName | undefined {
  return o && s ? undefined : o ? 'O' : 'S'
}

type Fields = Map<string, FieldReading>

function mergeFields(o: Fields | undefined, s: Fields | undefined): Record<string, FieldFact> {
  const names = [...new Set([...(o?.keys() ?? []), ...(s?.keys() ?? [])])].sort()
  return Object.fromEntries(
    names.map((name) => {
      const [inO, inS] = [o?.get(name), s?.get(name)]
      const required = whoSays(inO?.required, inS?.required)
      const only = o && s && onlyIn(inO, inS)
      return [
        name,
        {
          type: merge(inO?.type, inS?.type),
          ...(required && { required }),
          ...(only && { in: only }),
        },
      ]
    }),
  )
}

function mergeOperation(o: Reading | undefined, s: Reading | undefined): OperationFact {
  const path = mergeFields(o?.path, s?.path)
  const query = mergeFields(o?.query, s?.query)
  const body = merge(o?.body, s?.body)
  const envelope = merge(o?.answer.envelope, s?.answer.envelope)
  if (typeof envelope !== 'string')
    throw new Error(`the documents name different envelopes: ${JSON.stringify(envelope)}`)
  const data = merge(o?.answer.data, s?.answer.data)
  const only = onlyIn(o, s)
  const deprecated = whoSays(o?.deprecated, s?.deprecated)
  return {
    ...(only && { in: only }),
    ...(deprecated && { deprecated }),
    ...(Object.keys(path).length > 0 && { path }),
    ...(Object.keys(query).length > 0 && { query }),
    ...(body !== undefined && { body }),
    answer: { envelope, ...(data !== undefined && { data }) },
  }
}

function typesOf(value: ByDocument<TypeName> | undefined): TypeName[] {
  return value === undefined ? [] : typeof value === 'string' ? [value] : [value.O, value.S]
}

/**
 * @param folder - holds exactly one OpenAPI 3 and one Swagger 2 document, as `.json` files of any name.
 * @param modelled - operations as `METHOD /path`, in the order of the manifest.
 * @throws if a document is missing, or neither has one of these operations.
 */
export function deriveFields(folder: string, modelled: readonly string[]): FieldManifest {
  const { o, s } = readDocuments(folder)
  const operations: FieldManifest['operations'] = {}
  const pending: TypeName[] = []
  for (const key of modelled) {
    const [inO, inS] = [o.operation(key), s.operation(key)]
    if (!inO && !inS) throw new Error(`neither document has ${key}`)
    const fact = mergeOperation(inO, inS)
    operations[key] = fact
    pending.push(...typesOf(fact.body), ...typesOf(fact.answer.data))
  }
  const schemas = new Map<string, Record<string, FieldFact>>()
  for (let type = pending.pop(); type !== undefined; type = pending.pop()) {
    const name = schemaOf(type)
    if (name === undefined || schemas.has(name)) continue
    const [inO, inS] = [o.schema(name), s.schema(name)]
    if (!inO && !inS) throw new Error(`neither document has the schema ${name}`)
    const fields = mergeFields(inO, inS)
    schemas.set(name, fields)
    for (const field of Object.values(fields)) pending.push(...typesOf(field.type))
  }
  return { operations, schemas: Object.fromEntries([...schemas].sort(([a], [b]) => (a < b ? -1 : 1))) }
}

function readDocuments(folder: string): Record<'o' | 's', DocumentReader> {
  const documents = readdirSync(folder)
    .filter((file) => file.endsWith('.json'))
    .map((file) => JSON.parse(readFileSync(join(folder, file), 'utf8')) as ApiDocument & Record<string, unknown>)
  const [o] = documents.filter((document) => 'openapi' in document)
  const [s] = documents.filter((document) => 'swagger' in document)
  if (!o || !s) throw new Error(`${folder} must hold an OpenAPI 3 and a Swagger 2 document`)
  return { o: new DocumentReader(o), s: new DocumentReader(s) }
}

/** The manifest as text: JSON with one line a field, an operation's or schema's fields below it. */
export function formatManifest({ operations, schemas }: FieldManifest): string {
  const line = (indent: string, key: string, value: unknown) =>
    `${indent}${JSON.stringify(key)}: ${JSON.stringify(value, null, 1).replace(/\n */g, ' ')}`
  const block = (indent: string, key: string, lines: string[]) =>
    lines.length === 0
      ? `${indent}${JSON.stringify(key)}: {}`
      : `${indent}${JSON.stringify(key)}: {\n${lines.join(',\n')}\n${indent}}`
  const fieldLines = (indent: string, fields: Record<string, FieldFact>) =>
    Object.entries(fields).map(([name, field]) => line(indent, name, field))
  const operationLines = (fact: OperationFact) =>
    Object.entries(fact).map(([part, value]) =>
      part === 'path' || part === 'query'
        ? block('      ', part, fieldLines('        ', value as Record<string, FieldFact>))
        : line('      ', part, value),
    )
  return `{\n${[
    block(
      '  ',
      'operations',
      Object.entries(operations).map(([key, fact]) => block('    ', key, operationLines(fact))),
    ),
    block(
      '  ',
      'schemas',
      Object.entries(schemas).map(([name, fields]) => block('    ', name, fieldLines('      ', fields))),
    ),
  ].join(',\n')}\n}\n`
}

if (import.meta.main) {
  const folder = process.argv[2]
  if (folder === undefined) throw new Error('usage: node scripts/vdi-fields.ts <folder of the API documents>')
  const target = resolve(import.meta.dirname, '../schemas/vdi-fields.json')
  const manifest = deriveFields(folder, MODELLED_OPERATIONS)
  writeFileSync(target, formatManifest(manifest))
  const count = (part: object) => Object.keys(part).length
  process.stdout.write(`${count(manifest.operations)} operations, ${count(manifest.schemas)} schemas → ${target}\n`)
}
