import { configError } from '../core/index.ts'
import type { VdiAssumptions } from './assumptions.ts'
import type { Schema } from './schema.ts'

/**
 * The frame of an answer: R `{status, msg, data}`; B the same without `data`; U `{returnCode, msg, data}`, in newer
 * builds with `status`; C one flat object.
 */
export type Envelope = 'R' | 'B' | 'U' | 'C'

/** One operation of the platform, as data: the typed method, the checks and the contract tests follow from it. */
export interface Operation<Path extends string = string, Query = unknown, Body = unknown, Answer = unknown> {
  /** Name in errors and observations: `domains.start`. */
  readonly name: string
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** Path with its parameters in braces: `/ocloud/v1/domain/{id}`. */
  readonly path: Path
  readonly query?: Schema<Query>
  readonly body?: Schema<Body>
  /** Schema of `data`; of the whole answer in a flat envelope. Absent: success carries nothing. */
  readonly answer?: Schema<Answer>
  readonly envelope: Envelope
  /** Whether sending it twice does no harm; only then is it repeated after a failure. */
  readonly idempotent: boolean
  /** Whether it needs a session. */
  readonly session: boolean
}

type Names<Path extends string> = Path extends `${string}{${infer Name}}${infer Rest}` ? Name | Names<Rest> : never

/** What a call of an operation takes: path parameters, query and body, as far as it has them. */
export type Input<Path extends string, Query, Body> = ([Names<Path>] extends [never]
  ? unknown
  : { path: Record<Names<Path>, string> }) &
  ([Query] extends [never] ? unknown : { query: Query }) &
  ([Body] extends [never] ? unknown : { body: Body })

/** Completes an operation: GET is idempotent, what answers nothing has envelope B, everything needs a session. */
export function operation<const Path extends string, Query = never, Body = never, Answer = void>(
  of: Pick<Operation<Path, Query, Body, Answer>, 'name' | 'method' | 'path'> &
    Partial<Operation<Path, Query, Body, Answer>>,
): Operation<Path, Query, Body, Answer> {
  return { envelope: of.answer ? 'R' : 'B', idempotent: of.method === 'GET', session: true, ...of }
}

/**
 * The operation's path with its parameters filled in.
 *
 * @throws `ATP_VDI_REQUEST` for an empty parameter or a dot segment, which would make the path that of another
 * operation.
 */
export function pathOf({ name, path }: Operation, parameters: Readonly<Record<string, string>> = {}): string {
  let filled = ''
  partsOf(path).forEach((part, i) => {
    if (i % 2 === 0) return void (filled += part)
    const value = parameters[part]
    if (typeof value !== 'string' || /^\.{0,2}$/.test(value)) {
      throw configError('ATP_VDI_REQUEST', `${name}: ${JSON.stringify(value)} is no "${part}" for ${path}`, {
        context: { operation: name, path: part },
      })
    }
    filled += encodeURIComponent(value)
  })
  return filled
}

const parts = new Map<string, readonly string[]>()

/** Fixed texts of a path, with the names of its parameters between them. */
function partsOf(path: string): readonly string[] {
  let known = parts.get(path)
  if (!known) parts.set(path, (known = path.split(/[{}]/)))
  return known
}

/** The query as it follows the path, with its question mark; empty without parameters. Undefined ones are left out. */
export function queryOf(query: object | undefined, array: VdiAssumptions['arrayQuery']): string {
  if (!query) return ''
  const parameters = new URLSearchParams()
  for (const [name, value] of Object.entries(query) as [string, unknown][]) {
    if (value === undefined) continue
    if (!Array.isArray(value)) parameters.append(name, String(value))
    else if (array === 'repeat') for (const one of value) parameters.append(name, String(one))
    else parameters.append(name, value.join(array === 'comma' ? ',' : '|'))
  }
  return parameters.size === 0 ? '' : `?${parameters}`
}
