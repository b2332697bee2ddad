import type { Page } from './schema.ts'

/**
 * All rows of a paged list, one page at a time as they are needed. Rows that come or go on the platform meanwhile may
 * be missed or met twice.
 *
 * @param pageRows rows to ask for; a platform that gives fewer is asked more often
 * @param read one page, counted from 1
 */
export async function* allPages<T>(
  pageRows: number,
  read: (page: { pageNum: number; pageSize: number }) => Promise<Page<T>>,
): AsyncGenerator<T, void, undefined> {
  let met = 0
  for (let pageNum = 1; ; pageNum++) {
    const { list, total } = await read({ pageNum, pageSize: pageRows })
    yield* list
    met += list.length
    // Some servers repeat their last page for ever, hence not only until an empty one.
    if (list.length === 0 || met >= total) return
  }
}

/** All rows at once. */
export async function collected<T>(rows: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const row of rows) all.push(row)
  return all
}
