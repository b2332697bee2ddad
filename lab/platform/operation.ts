import type { Fields, ObjectOf, Shape, ValueOf } from './schema.ts'
import { PAGE } from './schema.ts'
import type { Session } from './sessions.ts'
import type { PlatformState } from './state.ts'

/** One call as its handler sees it: checked, with the types of the operation. */
export interface Call<Q = Record<string, unknown>, B = unknown> {
  state: PlatformState
  /** Parts of the path, by name. */
  path: Record<string, string>
  query: Q
  body: B
  /** Undefined where no token is needed. */
  session: Session | undefined
  signal: AbortSignal
}

/**
 * Form of the answer. `R`: `{status, msg, data}`; `B`: without `data`; `U`: end users' calls, with `returnCode`;
 * `C`: the flat form of the old end-user login.
 */
export type Envelope = 'R' | 'B' | 'U' | 'C'

/** One operation of the platform: everything about it, once. */
export interface Operation {
  /** `domain.start` */
  name: string
  method: 'GET' | 'POST' | 'PATCH' | 'PUT' | 'DELETE'
  /** `/ocloud/v1/domain/{id}` */
  path: string
  query: Fields
  body?: Shape
  envelope: Envelope
  /** Of `data`. */
  answer?: Shape
  /** Whether a token is asked for. */
  token: boolean
  /** @throws Refusal */
  handle(call: Call): unknown
}

type Answer<A> = A extends Shape ? ValueOf<A> | Promise<ValueOf<A>> : void | Promise<void>

/** Defines an operation; query, body and result of `handle` have the types of their shapes. */
export function operation<
  const Q extends Fields = Record<never, never>,
  B extends Shape | undefined = undefined,
  A extends Shape | undefined = undefined,
>(definition: {
  name: string
  method: Operation['method']
  path: string
  query?: Q
  body?: B
  envelope: Envelope
  answer?: A
  token?: false
  handle(call: Call<ObjectOf<Q>, B extends Shape ? ValueOf<B> : undefined>): Answer<A>
}): Operation {
  return { query: {}, token: true, ...definition } as unknown as Operation
}

const DEFAULT_PAGE_SIZE = 10

/** One page of the rows, shown by `view`. */
export function pageOf<T, V>(
  { state, query }: { state: PlatformState; query: ObjectOf<typeof PAGE> },
  rows: readonly T[],
  view: (row: T) => V,
): { list: V[]; pageNum: number; pageSize: number; pages: number; total: number } {
  const pageNum = Math.max(1, query.pageNum ?? 1)
  const pageSize = Math.min(Math.max(1, query.pageSize ?? DEFAULT_PAGE_SIZE), state.behaviour.maxPageSize)
  const list = rows.slice((pageNum - 1) * pageSize, pageNum * pageSize).map(view)
  return { list, pageNum, pageSize, pages: Math.ceil(rows.length / pageSize), total: rows.length }
}

/** Filter of comma lists: true where the list is missing, empty or names the value. */
export function listed(list: string | undefined, value: string | number | undefined): boolean {
  if (list === undefined || list === '') return true
  return list.split(/[,|]/).includes(String(value))
}

export function contains(keyword: string | undefined, text: string | undefined): boolean {
  return keyword === undefined || (text ?? '').includes(keyword)
}
