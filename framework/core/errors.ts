/**
 * The error tree of the whole framework.
 *
 * Errors are recognised by `code` (stable, documented in docs/errors.md) or by branch, never by message
 * text and never by `instanceof` across package copies: use {@link isAtpError}.
 */

/** Which kind of thing went wrong. Every code belongs to exactly one branch. */
export const ERROR_BRANCHES = [
  /** What the user wrote (configuration, arguments, scenario) is wrong. */
  'config',
  /** The call was made in a state that does not allow it (closed, not connected). */
  'state',
  /** A peer could not be reached or the connection was lost. */
  'connect',
  /** A deadline passed. */
  'timeout',
  /** The work was cancelled: abort signal, SIGINT, scope closed. */
  'interrupted',
  /** The peer sent something that its protocol does not allow. */
  'protocol',
  /** The peer understood and refused. */
  'remote',
  /** An expectation about the system under test did not hold. */
  'assertion',
  /** The framework, or this VM or host, cannot do what was asked. */
  'unsupported',
  /** An invariant of the framework itself is broken. */
  'internal',
] as const
export type ErrorBranch = (typeof ERROR_BRANCHES)[number]

/** Whose fault a failure is; the first question after a red run. */
export const VERDICTS = ['product', 'infrastructure', 'spec', 'framework'] as const
export type Verdict = (typeof VERDICTS)[number]

const VERDICT_BY_BRANCH: Record<ErrorBranch, Verdict> = {
  config: 'spec',
  state: 'spec',
  connect: 'infrastructure',
  timeout: 'infrastructure',
  interrupted: 'infrastructure',
  protocol: 'infrastructure',
  remote: 'infrastructure',
  assertion: 'product',
  unsupported: 'spec',
  internal: 'framework',
}

export interface AtpErrorOptions {
  /** What led to this error. */
  cause?: unknown
  /** Where it happened: host, vm, command, file, line… Shown in reports; must not hold secrets. */
  context?: Record<string, unknown>
  /** Whether trying the same call again may succeed. Default false. */
  retryable?: boolean
  /** What the reader can do about it, one sentence. */
  remedy?: string
  /** Overrides the verdict that follows from the branch. */
  verdict?: Verdict
}

const BRAND = Symbol.for('ocloudview.atp.error')

/**
 * Every error the framework throws on purpose.
 *
 * `message` names place and cause; `remedy` is appended on a line of its own so that it also shows where
 * only the message is printed.
 */
export class AtpError extends Error {
  readonly [BRAND] = true
  /** Stable identifier, `ATP_<ROOM>_<WHAT>`. */
  readonly code: string
  readonly branch: ErrorBranch
  readonly context: Record<string, unknown>
  readonly retryable: boolean
  readonly remedy: string | undefined
  readonly verdict: Verdict

  constructor(branch: ErrorBranch, code: `ATP_${string}`, message: string, options: AtpErrorOptions = {}) {
    super(
      options.remedy ? `${message}\n  → ${options.remedy}` : message,
      options.cause === undefined ? undefined : { cause: options.cause },
    )
    this.name = 'AtpError'
    this.branch = branch
    this.code = code
    this.context = options.context ?? {}
    this.retryable = options.retryable ?? false
    this.remedy = options.remedy
    this.verdict = options.verdict ?? VERDICT_BY_BRANCH[branch]
  }
}

/** True for an {@link AtpError} of any copy of this package, optionally of one code. */
export function isAtpError(error: unknown, code?: string): error is AtpError {
  return (
    typeof error === 'object' &&
    error !== null &&
    (error as Record<symbol, unknown>)[BRAND] === true &&
    (code === undefined || (error as AtpError).code === code)
  )
}

/** The verdict on any thrown value: an {@link AtpError}'s own, else the spec's (its code threw). */
export function verdictOf(error: unknown): Verdict {
  return isAtpError(error) ? error.verdict : 'spec'
}

/** The message of any thrown value, for use inside another message. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

// One short constructor a branch, so that a throw site reads as a sentence.
type Make = (code: `ATP_${string}`, message: string, options?: AtpErrorOptions) => AtpError
const make =
  (branch: ErrorBranch): Make =>
  (code, message, options) =>
    new AtpError(branch, code, message, options)

export const configError = make('config')
export const stateError = make('state')
export const connectError = make('connect')
export const timeoutError = make('timeout')
export const interruptedError = make('interrupted')
export const protocolError = make('protocol')
export const remoteError = make('remote')
export const assertionError = make('assertion')
export const unsupportedError = make('unsupported')
export const internalError = make('internal')
