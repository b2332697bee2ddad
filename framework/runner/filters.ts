import { resolve } from 'node:path'
import { isAtpError } from '../core/index.ts'
import type { Selection } from './adapter.ts'

const WITH_LINE = /^(.+):(\d+)$/
const SCENARIO = /\.(?:ya?ml|json)$/

/**
 * Which tests name pattern, tags and lines ask for; undefined when whole files are run. Only needed to tell, of the
 * tests that are skipped anyway, those a reader of the report wants to see.
 */
export function selectionOf(
  filters: string[],
  namePattern: string | undefined,
  tags: string | undefined,
): Selection | undefined {
  const lines = filters.flatMap((filter) => {
    const [, file = '', line] = WITH_LINE.exec(filter) ?? []
    return line === undefined ? [] : [{ file, line: Number(line) }]
  })
  if (namePattern === undefined && tags === undefined && lines.length === 0) return undefined
  const pattern = new RegExp(namePattern ?? '')
  return (test) =>
    pattern.test(test.fullName) &&
    (tags === undefined || test.tags.some((tag) => tags.includes(tag))) &&
    (lines.length === 0 || lines.some(({ file, line }) => test.file.includes(file) && test.line === line))
}

/**
 * Vitest runs a test for its first line only. In a scenario every line means the scenario, except that a line of
 * its matrix means that combination.
 */
export async function scenarioFilters(filters: string[], root: string): Promise<string[]> {
  return Promise.all(
    filters.map(async (filter) => {
      const [, file = '', line] = WITH_LINE.exec(filter) ?? []
      if (!SCENARIO.test(file)) return filter
      return (await combinationLines(resolve(root, file))).includes(Number(line)) ? filter : file
    }),
  )
}

async function combinationLines(file: string): Promise<number[]> {
  const { loadScenario } = await import('../scenario/load.ts')
  try {
    const { scenario } = await loadScenario(file)
    return scenario.matrixAt?.map((at) => at.line) ?? []
  } catch (error) {
    // The run itself says what is wrong with the file.
    if (isAtpError(error)) return []
    throw error
  }
}
