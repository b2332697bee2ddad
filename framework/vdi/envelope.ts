import type { VdiAssumptions } from './assumptions.ts'
import { check, type Validation } from './check.ts'
import { answerError, type CallPlace, refusedError } from './errors.ts'
import type { Operation } from './operation.ts'
import { int, type JsonSchema, orNull, text } from './schema.ts'

/** An answer of HTTP, read and parsed. */
export interface WireAnswer {
  httpStatus: number
  /** The parsed body; undefined for an answer without one. */
  value: unknown
}

/** The platform's own code in an answer, if it has the frame of one; 0 is success. */
export function codeOf(
  { envelope }: Operation,
  value: unknown,
  { endUserSuccessStatuses }: Pick<VdiAssumptions, 'endUserSuccessStatuses'>,
): number | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { status, returnCode } = value as Record<string, unknown>
  const code = numberOf(status)
  if (code !== undefined) return envelope === 'U' && endUserSuccessStatuses.includes(code) ? 0 : code
  const old = numberOf(returnCode)
  return old === 200 ? 0 : old
}

/** The platform's message in an answer, if it has one. */
export function messageIn(value: unknown): string | undefined {
  const message = typeof value === 'object' && value !== null ? (value as { msg?: unknown }).msg : undefined
  return typeof message === 'string' ? message : undefined
}

/**
 * What a successful answer carries: its `data`, or the whole of a flat one.
 *
 * @throws `ATP_VDI_REFUSED` for another code than success, `ATP_VDI_ANSWER` for an answer that is not the operation's
 */
export function unwrap(
  place: CallPlace,
  { httpStatus, value }: WireAnswer,
  validation: Validation,
  assumptions: VdiAssumptions,
): unknown {
  const { operation } = place
  const code = codeOf(operation, value, assumptions)
  if (code === undefined) throw answerError(place, 'JSON that has neither status nor returnCode')
  if (code !== 0) throw refusedError(place, code, messageIn(value) ?? '', httpStatus)
  const answer = value as Record<string, unknown>
  if (assumptions.absentListIsEmpty && operation.answer?.json.type === 'array') answer['data'] ??= []
  const wrong = check(frameOf(operation), answer, validation)
  if (wrong) {
    throw answerError(place, `${wrong.path}: expected ${wrong.expected}, found ${wrong.found}`, { ...wrong })
  }
  if (!operation.answer) return undefined
  return operation.envelope === 'C' ? answer : answer['data']
}

const frames = new WeakMap<Operation, JsonSchema>()

/** The schema of the whole successful answer. */
function frameOf(operation: Operation): JsonSchema {
  let frame = frames.get(operation)
  if (!frame) frames.set(operation, (frame = makeFrame(operation)))
  return frame
}

function makeFrame({ envelope, answer }: Operation): JsonSchema {
  if (envelope === 'C') return answer?.json ?? {}
  const untyped = answer?.json.type === undefined
  return {
    type: 'object',
    properties: {
      status: int.json,
      msg: orNull(text.json),
      ...(envelope === 'U' ? { returnCode: orNull(int.json) } : {}),
      data: answer ? answer.json : { type: 'null' },
    },
    required: untyped ? [] : ['data'],
    additionalProperties: false,
  }
}

/** A code may be written as a text. */
function numberOf(value: unknown): number | undefined {
  if (typeof value === 'number') return value
  return typeof value === 'string' && /^-?\d+$/.test(value) ? Number(value) : undefined
}
