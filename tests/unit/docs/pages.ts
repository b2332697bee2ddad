import { globSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

export const ROOT = resolve(import.meta.dirname, '../../..')

/** A fenced block. Its first line is the language and words for these tests: `ts spec`, `ts library file=x.ts`. */
export interface Block {
  page: string
  /** Of the first line of the block's content. */
  line: number
  language: string
  words: string[]
  text: string
}

export interface Page {
  /** Relative to the root. */
  path: string
  text: string
  blocks: Block[]
  /** Everything outside of fenced blocks. */
  prose: string
  anchors: string[]
  links: string[]
  /** `code` in the prose. */
  spans: string[]
}

export const pages: Page[] = [
  'README.md',
  'CONTRIBUTING.md',
  'CHANGELOG.md',
  ...globSync('docs/*.md', { cwd: ROOT }),
].map((path) => parsePage(path, readFileSync(join(ROOT, path), 'utf8')))

export function pageOf(path: string): Page {
  const page = pages.find((one) => one.path === path)
  if (!page) throw new Error(`there is no page ${path}`)
  return page
}

export function blocksWith(language: string, word?: string): Block[] {
  return pages.flatMap(({ blocks }) =>
    blocks.filter((block) => block.language === language && (word === undefined || block.words.includes(word))),
  )
}

/** Rows of the page's tables, cells trimmed; head and rule lines are left out. */
export function tableRows(text: string): string[][] {
  const lines = text.split('\n')
  return lines.flatMap((line, index) => {
    const isRow = line.startsWith('|') && !/^\|[-| ]+\|$/.test(line) && !/^\|[-| ]+\|$/.test(lines[index + 1] ?? '')
    return isRow
      ? [
          line
            .slice(1, -1)
            .split(/(?<!\\)\|/)
            .map((cell) => cell.trim()),
        ]
      : []
  })
}

function parsePage(path: string, text: string): Page {
  const blocks: Block[] = []
  const prose: string[] = []
  let open: Block | undefined
  for (const [index, line] of text.split('\n').entries()) {
    const fence = /^```(.*)$/.exec(line)
    if (open) {
      if (fence) open = undefined
      else open.text += `${line}\n`
    } else if (fence) {
      const [language = '', ...words] = (fence[1] as string).trim().split(' ')
      open = { page: path, line: index + 2, language, words, text: '' }
      blocks.push(open)
    } else prose.push(line)
  }
  const outside = prose.join('\n')
  return {
    path,
    text,
    blocks,
    prose: outside,
    anchors: [...outside.matchAll(/^#+ (.*)$/gm)].map(([, title]) => slug(title as string)),
    links: [...outside.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target as string),
    spans: [...outside.matchAll(/`([^`\n]+)`/g)].map(([, span]) => span as string),
  }
}

/** The anchor a Markdown viewer gives to a heading. */
function slug(title: string): string {
  return title
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
    .trim()
    .replaceAll(/\s/g, '-')
}
