import { readFile } from 'node:fs/promises'
import { dirname, relative, resolve } from 'node:path'
import { configError, messageOf, type AtpError } from '../core/index.ts'
import { codeFrame } from '../evidence/code-frame.ts'
import { parseChord, textStrokes } from '../keys/index.ts'
import { stepRegistry } from './default-registry.ts'
import {
  checkpointsOf,
  needsOf,
  combinationsOf,
  parseScenario,
  walkSteps,
  type ParsedScenario,
  type Problem,
  type Scenario,
} from './model/index.ts'
import type { StepRegistry } from './registry.ts'

export interface LoadOptions {
  /** Path for messages and for files the text refers to, when text is given. Default `<text>`. */
  file?: string
  registry?: StepRegistry
  /** Unknown keys become notes. Default false. */
  lenient?: boolean
  /** Refuse steps that nothing here can run. Default true; off for converting. */
  checkNeeds?: boolean
}

export interface LoadedScenario {
  scenario: Scenario
  /** Remarks that forbid nothing: bare seconds, settings without effect. */
  notes: Problem[]
  /** The text that was read. */
  text: string
  /** Files it was read from beside its own (`scenario.run`), absolute. */
  includes: string[]
}

const CHECKS = {
  text: (text: string, layout: string) => void textStrokes(text, { layout }),
  chord: (chord: string, layout: string) => void parseChord(chord, layout),
}

/**
 * Reads a scenario, with the files its `scenario.run` steps name.
 *
 * @param source path of a YAML or JSON file, or `{ text }`.
 * @throws `ATP_SCENARIO_FILE` when a file cannot be read, `ATP_SCENARIO_INVALID` with all problems of the file, each
 * with a code of its own, its place, a code frame and what to do.
 */
export async function loadScenario(
  source: string | { text: string },
  options: LoadOptions = {},
): Promise<LoadedScenario> {
  const file = typeof source === 'string' ? resolve(source) : options.file
  const text = typeof source === 'string' ? await read(source) : source.text
  return load(text, file, options, [])
}

async function load(
  text: string,
  file: string | undefined,
  options: LoadOptions,
  outer: readonly string[],
): Promise<LoadedScenario> {
  const registry = options.registry ?? stepRegistry
  const parsed = parseScenario(text, {
    ...options,
    ...(file === undefined ? {} : { file }),
    catalog: registry,
    checks: CHECKS,
  })
  const includes = await include(parsed, file, options, outer)
  const { scenario, problems, source } = parsed
  if (!scenario || problems.errors.length > 0) {
    const ordered = problems.errors.toSorted((a, b) => a.line - b.line || a.column - b.column)
    throw invalid(source.file, text, ordered)
  }
  // Names that only an included file says are seen here first.
  if (includes.length > 0) for (const { values } of combinationsOf(scenario)) needsOf(scenario, registry, values)
  return { scenario, notes: problems.notes, text, includes }
}

async function include(
  { scenario, problems }: ParsedScenario,
  file: string | undefined,
  options: LoadOptions,
  outer: readonly string[],
): Promise<string[]> {
  const includes: string[] = []
  if (!scenario) return includes
  const prepared = checkpointsOf(scenario).flatMap(({ prepare }) => prepare)
  for (const step of walkSteps([...prepared, ...scenario.setup, ...scenario.steps, ...scenario.teardown])) {
    const name = step.action === 'scenario.run' ? step.params['file'] : undefined
    if (typeof name !== 'string') continue
    const at = step.keys['file'] ?? step.at
    const path = resolve(file === undefined ? '.' : dirname(file), name)
    if (name.includes('${'))
      problems.error('ATP_SCENARIO_FILE', at, 'the file of scenario.run must be known before the run')
    else if (path === file || outer.includes(path)) {
      problems.error('ATP_SCENARIO_FILE', at, `${name} runs itself: ${[...outer, file, path].join(' → ')}`)
    } else {
      try {
        const included = await load(await read(path), path, options, file === undefined ? outer : [...outer, file])
        step.scenario = included.scenario
        includes.push(path, ...included.includes)
      } catch (error) {
        problems.thrown(error, at)
      }
    }
  }
  return includes
}

async function read(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    throw configError('ATP_SCENARIO_FILE', `the scenario ${path} cannot be read: ${messageOf(error)}`, { cause: error })
  }
}

/** `file:line:column CODE message`, the remedy and a code frame. */
export function formatProblem(problem: Problem, file: string, text: string): string {
  const remedy = problem.remedy ? `\n  → ${problem.remedy}` : ''
  const frame = codeFrame(text, problem.line, problem.column)
  return `${file}:${problem.line}:${problem.column} ${problem.code} ${problem.message}${remedy}${frame === undefined ? '' : `\n${frame}`}`
}

function invalid(file: string, text: string, problems: readonly Problem[]): AtpError {
  const count = problems.length === 1 ? '1 problem' : `${problems.length} problems`
  const [first] = problems
  const near = relative(process.cwd(), file)
  const shown = file.startsWith('/') && !near.startsWith('..') ? near : file
  const details = problems.map((problem) => formatProblem(problem, shown, text)).join('\n\n')
  return configError('ATP_SCENARIO_INVALID', `${shown} has ${count}\n\n${details}`, {
    context: { file, line: first?.line, column: first?.column, problems },
  })
}
