/** What the `atp scenario` commands do. */
import { globSync, readFileSync, writeFileSync } from 'node:fs'
import { relative } from 'node:path'
import { loadConfig, type ResolvedConfig } from '../config/index.ts'
import { configError, isAtpError } from '../core/index.ts'
import { formatProblem, loadScenario, printScenario, type Problem } from '../scenario/index.ts'
import { loadPlugins } from '../plugins/index.ts'
import { EXIT } from '../runner/exit-code.ts'

const SCENARIO_FILE = /\.(ya?ml|json)$/

function filesOf(globs: string[], root: string): string[] {
  const files = [...new Set(globs.flatMap((glob) => globSync(glob, { cwd: root })))].filter((file) =>
    SCENARIO_FILE.test(file),
  )
  if (files.length === 0) throw configError('ATP_SCENARIO_NO_FILES', `no YAML or JSON file matches ${globs.join(' ')}`)
  return files.toSorted()
}

/** The project's configuration, with its plug-ins loaded: scenarios may use their step kinds. */
async function loadProject(file?: string): Promise<ResolvedConfig> {
  const config = await loadConfig(process.cwd(), file)
  await loadPlugins(config.plugins)
  return config
}

async function filesOrSpecs(globs: string[]): Promise<string[]> {
  const { specs, root } = await loadProject()
  return filesOf(globs.length > 0 ? globs : specs, root)
}

export async function list(globs: string[], options: { tags?: string; json?: boolean }): Promise<void> {
  const wanted = options.tags?.split(',').map((tag) => tag.trim())
  const rows: { file: string; id?: string; name: string; tags: string[]; steps: number }[] = []
  for (const file of await filesOrSpecs(globs)) {
    const { scenario } = await loadScenario(file, { checkNeeds: false })
    if (wanted && !wanted.some((tag) => scenario.tags.includes(tag))) continue
    const { id, name, tags, steps } = scenario
    rows.push({ file, ...(id === undefined ? {} : { id }), name, tags: [...tags], steps: steps.length })
  }
  if (options.json) process.stdout.write(`${JSON.stringify(rows)}\n`)
  else
    for (const row of rows)
      process.stdout.write(`${row.file}  ${row.name}${row.tags.length > 0 ? `  [${row.tags.join(', ')}]` : ''}\n`)
}

export async function validate(globs: string[], options: { lenient?: boolean }): Promise<void> {
  let bad = 0
  for (const file of await filesOrSpecs(globs)) {
    try {
      const { notes, text, scenario } = await loadScenario(file, { lenient: options.lenient === true })
      process.stdout.write(`ok   ${file}  ${scenario.name}\n`)
      for (const note of notes) process.stdout.write(`     note: ${formatProblem(note, file, text)}\n`)
    } catch (error) {
      if (!isAtpError(error, 'ATP_SCENARIO_INVALID')) throw error
      bad++
      const problems = error.context['problems'] as Problem[]
      const text = readFileSync(file, 'utf8')
      process.stdout.write(`bad  ${file}\n`)
      for (const problem of problems) process.stdout.write(`${formatProblem(problem, file, text)}\n\n`)
    }
  }
  if (bad > 0) process.exitCode = EXIT.usage
}

export async function convert(file: string, options: { write?: boolean }): Promise<void> {
  await loadProject()
  const { scenario } = await loadScenario(file, { checkNeeds: false })
  const text = printScenario(scenario)
  if (options.write) writeFileSync(file, text)
  else process.stdout.write(text)
}

export async function run(globs: string[], options: { config?: string }): Promise<void> {
  const { runTests } = await import('../runner/run.ts')
  const root = process.cwd()
  const config = await loadConfig(root, options.config)
  const files = filesOf(globs, root)
  process.exitCode = await runTests({ ...config, specs: files.map((file) => relative(root, file)) }, {})
}
