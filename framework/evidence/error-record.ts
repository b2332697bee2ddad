import { readFileSync } from 'node:fs'
import { isAbsolute, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { inspect, stripVTControlCharacters } from 'node:util'
import { ERROR_BRANCHES, type ErrorBranch, type Verdict, verdictOf, VERDICTS } from '../core/index.ts'
import { codeFrame } from './code-frame.ts'
import type { ErrorRecord, SourceLocation } from './events.ts'
import { redactDeep } from './redact-event.ts'

export interface ErrorRecordOptions {
  /** Project root. With it the record gets a location relative to it and a code frame read from disk. */
  root?: string
}

const LONGEST = 64 * 1024
const MOST_CAUSES = 8
const BRANCHES: readonly string[] = ERROR_BRANCHES
const KNOWN_VERDICTS: readonly string[] = VERDICTS

/** What an error may look like: thrown here, or copied from another process without its prototype. */
interface ErrorLike {
  name?: unknown
  message?: unknown
  code?: unknown
  branch?: unknown
  verdict?: unknown
  context?: unknown
  stack?: unknown
  /** Vitest's parsed, source-mapped frames. */
  stacks?: unknown
  codeFrame?: unknown
  expected?: unknown
  actual?: unknown
  cause?: unknown
  errors?: unknown
}

/**
 * Any thrown value as a record for reports: framework fields kept, causes followed (8 at most), texts cut at
 * 64 KiB, terminal colours removed, secrets redacted. Never throws.
 */
export function toErrorRecord(error: unknown, options: ErrorRecordOptions = {}): ErrorRecord {
  return redactDeep(recordOf(error, options, 0))
}

/**
 * The verdict on any thrown value, also one that crossed a process border as a plain object. A failed
 * `expect` or `assert` (an `AssertionError`) is about the product.
 */
export function verdictOfError(error: unknown): Verdict {
  const { verdict, name } = like(error)
  if (typeof verdict === 'string' && KNOWN_VERDICTS.includes(verdict)) return verdict as Verdict
  return name === 'AssertionError' ? 'product' : verdictOf(error)
}

function like(error: unknown): ErrorLike {
  return typeof error === 'object' && error !== null ? (error as ErrorLike) : {}
}

function recordOf(error: unknown, options: ErrorRecordOptions, depth: number): ErrorRecord {
  const from = like(error)
  const message = typeof from.message === 'string' ? from.message : typeof error === 'string' ? error : inspect(error)
  const record: ErrorRecord = { message: text(message), verdict: verdictOfError(error) }
  if (typeof from.name === 'string') record.name = from.name
  if (typeof from.code === 'string' && from.code.startsWith('ATP_')) {
    record.code = from.code
    if (typeof from.branch === 'string' && BRANCHES.includes(from.branch)) record.branch = from.branch as ErrorBranch
    if (isFilled(from.context)) record.context = from.context
  }
  if (typeof from.stack === 'string') record.stack = text(from.stack)
  if ('expected' in from || 'actual' in from) {
    record.expected = shown(from.expected)
    record.actual = shown(from.actual)
  }
  if (options.root !== undefined) locate(record, from, options.root)
  if (typeof from.codeFrame === 'string') record.codeFrame ??= text(from.codeFrame)
  const cause = from.cause ?? (Array.isArray(from.errors) ? from.errors[0] : undefined)
  if (cause !== undefined && depth < MOST_CAUSES) record.cause = recordOf(cause, options, depth + 1)
  return record
}

function isFilled(context: unknown): context is Record<string, unknown> {
  return typeof context === 'object' && context !== null && Object.keys(context).length > 0
}

function shown(value: unknown): string {
  return text(typeof value === 'string' ? value : inspect(value, { depth: 6 }))
}

function text(value: string): string {
  const plain = stripVTControlCharacters(value)
  return plain.length > LONGEST ? `${plain.slice(0, LONGEST)}\n… ${plain.length - LONGEST} more characters` : plain
}

function locate(record: ErrorRecord, from: ErrorLike, root: string): void {
  for (const place of [...placeInContext(from.context), ...parsedFrames(from.stacks), ...stackFrames(from.stack)]) {
    const absolute = place.file.startsWith('file:') ? fileURLToPath(place.file) : resolve(root, place.file)
    const file = relative(root, absolute).replaceAll('\\', '/')
    if (file.startsWith('..') || isAbsolute(file) || file.includes('node_modules/')) continue
    record.location = { ...place, file }
    try {
      const frame = codeFrame(readFileSync(absolute, 'utf8'), place.line, place.column)
      if (frame !== undefined) record.codeFrame = frame
    } catch {
      // The file may have been generated or be gone; the location alone is still worth showing.
    }
    return
  }
}

function placeOf(value: unknown): SourceLocation[] {
  const { file, line, column } = (value ?? {}) as Record<string, unknown>
  if (typeof file !== 'string' || typeof line !== 'number') return []
  return [{ file, line, column: typeof column === 'number' ? column : 1 }]
}

/** Errors about a file the user wrote (YAML, configuration) name the place themselves. */
function placeInContext(context: unknown): SourceLocation[] {
  return placeOf(context)
}

function parsedFrames(stacks: unknown): SourceLocation[] {
  return Array.isArray(stacks) ? stacks.flatMap(placeOf) : []
}

function stackFrames(stack: unknown): SourceLocation[] {
  if (typeof stack !== 'string') return []
  return Array.from(stack.matchAll(/^\s+at .*?\(?((?:file:\/\/)?\/[^()\n]+?):(\d+):(\d+)\)?$/gm), (match) => ({
    file: match[1] as string,
    line: Number(match[2]),
    column: Number(match[3]),
  }))
}
