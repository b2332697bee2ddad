import { AtpError } from '../../core/errors.ts'
import { nearest } from '../../core/nearest.ts'
import type { Position } from './position.ts'

/** One finding in a scenario file. Errors forbid running it, notes do not. */
export interface Problem extends Position {
  severity: 'error' | 'note'
  /** `ATP_SCENARIO_UNKNOWN_KEY`, … */
  code: `ATP_${string}`
  message: string
  /** What to do about it. */
  remedy?: string
}

/** Gathers all findings of one file, so that an author sees them at once. */
export class Problems {
  readonly list: Problem[] = []

  error(code: `ATP_${string}`, at: Position, message: string, remedy?: string): void {
    this.#add('error', code, at, message, remedy)
  }

  note(code: `ATP_${string}`, at: Position, message: string, remedy?: string): void {
    this.#add('note', code, at, message, remedy)
  }

  /** Records a thrown framework error under its own code. */
  thrown(error: unknown, at: Position): void {
    if (!(error instanceof AtpError)) throw error
    const message = error.remedy ? error.message.slice(0, error.message.lastIndexOf('\n  → ')) : error.message
    this.error(error.code as `ATP_${string}`, at, message, error.remedy)
  }

  get errors(): Problem[] {
    return this.list.filter((problem) => problem.severity === 'error')
  }

  get notes(): Problem[] {
    return this.list.filter((problem) => problem.severity === 'note')
  }

  #add(severity: Problem['severity'], code: `ATP_${string}`, at: Position, message: string, remedy?: string): void {
    this.list.push({ severity, code, line: at.line, column: at.column, message, ...(remedy ? { remedy } : {}) })
  }
}

/** `did you mean "x"?`, or what exists. */
export function suggestion(name: string, candidates: readonly string[]): string | undefined {
  const near = nearest(name, candidates)
  if (near !== undefined) return `did you mean "${near}"?`
  return candidates.length > 0 ? `known: ${candidates.join(', ')}` : undefined
}
