import { spawnSync } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { blocksWith, ROOT, type Block } from './pages.ts'

// Inside the package, so that snippets import it by its own name.
const folder = join(ROOT, '.atp', `docs-${process.pid}`)

/** Where a block is written to; lines are those of the page, so that messages lead there. */
function fileOf({ page, line, words, language }: Block): string {
  const named = words.find((word) => word.startsWith('file='))?.slice('file='.length)
  return (
    named ??
    `${page.replaceAll(/[/.]/g, '-')}-${line}.${words.includes('spec') || language === 'yaml' ? 'spec.' : ''}${language}`
  )
}

function write(file: string, text: string): void {
  mkdirSync(dirname(join(folder, file)), { recursive: true })
  writeFileSync(join(folder, file), text)
}

function run(args: string[]): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: folder, encoding: 'utf8' })
  return { status, output: stdout + stderr }
}

describe('snippets', () => {
  beforeAll(() => {
    // Vitest's types know no author's keys of "meta" yet.
    const typed = blocksWith('ts').filter(({ words }) => !words.includes('untyped'))
    for (const block of [...typed, ...blocksWith('yaml')]) write(fileOf(block), block.text)
    write(
      'tsconfig.json',
      JSON.stringify({ extends: '../../tsconfig.json', compilerOptions: { types: ['node'] }, include: ['**/*.ts'] }),
    )
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  it('in TypeScript have the right types', { timeout: 120_000 }, () => {
    expect(blocksWith('ts', 'spec').length).toBeGreaterThan(20)
    const checked = run([join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.json'])
    // Errors of the package itself are for its own check to find.
    const own = checked.output.split('\n').filter((line) => /^[^./\s][^(]*\(\d+,\d+\)/.test(line))
    expect(own).toEqual([])
  })

  it('in YAML are valid scenarios', { timeout: 60_000 }, () => {
    // Step kinds of plug-ins are known to runs only.
    const files = blocksWith('yaml', 'spec').map(fileOf)
    expect(files.length).toBeGreaterThan(4)
    const checked = run([join(ROOT, 'bin/atp.js'), 'scenario', 'validate', ...files])
    expect(
      checked.output.split('\n').filter((line) => /^bad|note:/.test(line)),
      checked.output,
    ).toEqual([])
    expect(checked.status, checked.output).toBe(0)
  })

  it('all say what they are', () => {
    const unmarked = [...blocksWith('ts'), ...blocksWith('yaml')].filter(
      ({ words, text }) => words.length === 0 && !/defineConfig|isAtpError/.test(text),
    )
    expect(unmarked).toEqual([])
  })
})
