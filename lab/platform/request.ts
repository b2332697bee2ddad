import type { IncomingMessage } from 'node:http'
import type { Operation } from './operation.ts'
import { refuse } from './refusal.ts'
import { misfitOf, type Misfit, type Shape } from './schema.ts'

const MOST_BYTES = 1024 * 1024

const KIND = { unknown: 'unknownField', missing: 'missingField', type: 'wrongType', value: 'invalidValue' } as const

function refusalOf(where: string, { kind, path, expected }: Misfit): Error {
  const place = path === '' ? `the ${where}` : `"${path}" of the ${where}`
  if (kind === 'unknown') return refuse('unknownField', `${place} is not known; known are: ${expected || 'none'}`)
  if (kind === 'missing') return refuse('missingField', `${place} is missing`)
  return refuse(KIND[kind], `${place} must be ${expected}`)
}

/**
 * The query with the types of the operation. Arrays come as repeated parameters, with commas or with pipes.
 *
 * @throws Refusal
 */
export function readQuery(operation: Operation, parameters: URLSearchParams): Record<string, unknown> {
  const query: Record<string, unknown> = {}
  for (const name of new Set(parameters.keys())) {
    const shape = operation.query[name]
    const values = parameters.getAll(name)
    if (!shape) {
      const expected = Object.keys(operation.query).join(', ')
      throw refusalOf('query', { kind: 'unknown', path: name, expected })
    }
    query[name] = valueOf(shape, values)
  }
  const misfit = misfitOf({ type: 'object', fields: operation.query }, query)
  if (misfit) throw refusalOf('query', misfit)
  return query
}

function valueOf(shape: Shape, values: string[]): unknown {
  if (shape.type === 'array') {
    return values
      .flatMap((value) => value.split(/[,|]/))
      .filter((value) => value !== '')
      .map((value) => valueOf(shape.items as Shape, [value]))
  }
  if (shape.type === 'string') return values.join(',')
  const [value = ''] = values
  if (values.length > 1) return values
  return /^-?\d{1,15}$/.test(value) ? Number(value) : value
}

/**
 * The body, checked.
 *
 * @throws Refusal
 */
export async function readBody(operation: Pick<Operation, 'body'>, request: IncomingMessage): Promise<unknown> {
  const bytes = await readBytes(request)
  if (!operation.body) {
    if (bytes.length === 0 || bytes.toString('utf8').trim() === '{}') return undefined
    throw refuse('unknownField', 'this call has no body')
  }
  const type = (request.headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase()
  if (type !== 'application/json') throw refuse('malformed', `the body is "${type}"; it must be application/json`)
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    throw refuse('malformed', 'the body is no JSON in UTF-8')
  }
  const misfit = misfitOf(operation.body, value)
  if (misfit) throw refusalOf('body', misfit)
  return value
}

async function readBytes(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length
    // What is too much is read, so that the answer arrives, but not kept.
    if (length <= MOST_BYTES) chunks.push(chunk)
    else if (length > 16 * MOST_BYTES) request.destroy()
  }
  if (length > MOST_BYTES) throw refuse('tooLarge', `the body has more than ${MOST_BYTES} bytes`)
  return Buffer.concat(chunks)
}
