import { closeSync, fstatSync, openSync, readFileSync, readSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { redact } from '../framework/core/index.ts'
import type { Attachment } from '../framework/evidence/index.ts'

/** Texts are cut to their last 4 MiB: the report holds every attachment in one page. */
const LONGEST_TEXT_BYTES = 4 * 1024 * 1024
const OWN_FILES =
  /-(?:result|container|globals|perf)\.json$|-attachment(?:\.[^.]*)?$|^(?:environment\.properties|categories\.json)$/

/** Removes an earlier run's results and nothing else. A directory that does not exist is fine. */
export function clearResults(resultsDir: string): void {
  let names: string[]
  try {
    names = readdirSync(resultsDir)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
    throw error
  }
  for (const name of names) if (OWN_FILES.test(name)) rmSync(join(resultsDir, name))
}

/** True for content that people read as text, which may therefore hold a secret in clear. */
export function isText(contentType: string): boolean {
  return /^text\/|[/+](?:json|xml|yaml|x-ndjson|jsonl)\b/.test(contentType)
}

/** An attachment's bytes, secrets in texts redacted. A file that cannot be read gives a text that says so. */
export function attachmentContent({ text, path, contentType }: Pick<Attachment, 'text' | 'path' | 'contentType'>): {
  contentType: string
  bytes: Buffer
} {
  if (path === undefined) return { contentType, bytes: Buffer.from(text ?? '') }
  try {
    const bytes = isText(contentType) ? Buffer.from(redact(tailOf(path))) : readFileSync(path)
    return { contentType, bytes }
  } catch (error) {
    return { contentType: 'text/plain', bytes: Buffer.from(`This evidence could not be read: ${String(error)}`) }
  }
}

function tailOf(path: string): string {
  const file = openSync(path, 'r')
  try {
    const { size } = fstatSync(file)
    const kept = Math.min(size, LONGEST_TEXT_BYTES)
    const bytes = Buffer.alloc(kept)
    const read = readSync(file, bytes, 0, kept, size - kept)
    const text = bytes.subarray(0, read).toString('utf8')
    return kept < size ? `… ${size - kept} bytes before this were left out; the whole is ${path}\n${text}` : text
  } finally {
    closeSync(file)
  }
}
