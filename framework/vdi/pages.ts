import type { Page } from './schema.ts'

/** Reads one page, counted from 1. */
export type ReadPage<T> = (page: { pageNum: number; pageSize: number }) => Promise<Page<T>>

/**
 * All rows of a paged list, one page at a time as they are needed. Rows that come or go on the platform meanwhile may
 * be missed or met twice.
 *
 * @param pageRows rows to ask for; a platform that gives fewer is asked more often
 */
export async function* allPages<T>(pageRows: number, read: ReadPage<T>): AsyncGenerator<T, void, undefined> {
  for await (const rows of pagesOf(pageRows, read)) yield* rows
}

/** All rows at once: as {@link allPages}, without a turn of the event loop for each row. */
export async function allRows<T>(pageRows: number, read: ReadPage<T>): Promise<T[]> {
  const all: T[] = []
  for await (const rows of pagesOf(pageRows, read)) for (const row of rows) all.push(row)
  return all
}

async function* pagesOf<T>(pageRows: number, read: ReadPage<T>): AsyncGenerator<readonly T[], void, undefined> {
  let met = 0
  for (let pageNum = 1; ; pageNum++) {
    const { list, total } = await read({ pageNum, pageSize: pageRows })
    yield list
    met += list.length
    // Some servers repeat their last page for ever, hence not only until an empty one.
    if (list.length === 0 || met >= total) return
  }
}
