import { protocolError, type AtpError } from '../../framework/core/errors.ts'

/** A JSON object whose members are not known yet. */
export type Fields = Readonly<Record<string, unknown>>

/** `ATP_VERIFIER_MESSAGE`: the peer sent what the protocol does not allow. Values are not repeated: they may be keys. */
export function malformed(problem: string): AtpError {
  return protocolError('ATP_VERIFIER_MESSAGE', `a verifier message is malformed: ${problem}`)
}

/** @throws `ATP_VERIFIER_MESSAGE` */
export function objectOf(value: unknown, name: string): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw malformed(`${name} is no object`)
  return value as Fields
}

/** @throws `ATP_VERIFIER_MESSAGE` */
export function textOf(fields: Fields, name: string, maxLength: number): string {
  const value = fields[name]
  if (typeof value !== 'string' || value === '') throw malformed(`"${name}" is no text`)
  if (value.length > maxLength) throw malformed(`"${name}" is longer than ${maxLength} characters`)
  return value
}

/** @throws `ATP_VERIFIER_MESSAGE` */
export function oneOf<T extends string>(fields: Fields, name: string, allowed: readonly T[]): T {
  const found = allowed.find((each) => each === fields[name])
  if (found === undefined) throw malformed(`"${name}" is none of ${allowed.join(', ')}`)
  return found
}

/** @throws `ATP_VERIFIER_MESSAGE` */
export function flagOf(fields: Fields, name: string): boolean {
  const value = fields[name]
  if (typeof value !== 'boolean') throw malformed(`"${name}" is neither true nor false`)
  return value
}

/** A finite number that is not negative. @throws `ATP_VERIFIER_MESSAGE` */
export function amountOf(fields: Fields, name: string): number {
  const value = fields[name]
  if (typeof value !== 'number' || !(value >= 0) || value === Infinity) throw malformed(`"${name}" is no amount`)
  return value
}

/** A whole number that is not negative. @throws `ATP_VERIFIER_MESSAGE` */
export function countOf(fields: Fields, name: string): number {
  const value = fields[name]
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw malformed(`"${name}" is no whole number from 0 up`)
  return value as number
}

const NANOSECONDS = /^\d{1,20}$/

/** @throws `ATP_VERIFIER_MESSAGE` */
export function nanosecondsOf(value: unknown, name: string): string {
  if (typeof value !== 'string' || !NANOSECONDS.test(value)) throw malformed(`"${name}" is no time in nanoseconds`)
  return value
}

/** @throws `ATP_VERIFIER_MESSAGE` */
export function listOf(fields: Fields, name: string, maxLength: number): readonly unknown[] {
  const value = fields[name]
  if (!Array.isArray(value)) throw malformed(`"${name}" is no list`)
  if (value.length > maxLength) throw malformed(`"${name}" has more than ${maxLength} entries`)
  return value
}
