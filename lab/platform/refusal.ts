/** Numbers the platform itself is known to answer. */
export const PLATFORM_CODE = {
  /** Missing, wrong or expired token. */
  token: 1006,
  noUser: 5098,
  wrongPassword: 5099,
  accountLocked: 5100,
} as const

/** What the platform says to such a token. */
export const BAD_TOKEN = 'token校验失败'

/** Numbers of this stand-in. The real platform's are not known, so no test may rely on these for it. */
export const STAND_IN_CODE = {
  /** The body is no JSON object, or of another content type. */
  malformed: 9400,
  unknownField: 9401,
  missingField: 9402,
  wrongType: 9403,
  /** No such VM, pool, host, template, user… */
  noSuch: 9404,
  invalidValue: 9405,
  unknownPath: 9406,
  /** The thing is in a state that does not allow this. */
  wrongState: 9409,
  nameTaken: 9410,
  /** A host or the platform carries no more. */
  full: 9411,
  tooLarge: 9413,
  /** The stand-in, or the hypervisors behind it, cannot do this. */
  unsupported: 9422,
  /** What should have been done failed. */
  failed: 9500,
  /** Asked for by a fault. */
  fault: 9599,
} as const

/** A business error: goes to the caller as an envelope with this status and message. */
export class Refusal extends Error {
  readonly status: number
  constructor(status: number, msg: string) {
    super(msg)
    this.name = 'Refusal'
    this.status = status
  }
}

type Kind = keyof typeof STAND_IN_CODE

export function refuse(kind: Kind, msg: string): Refusal {
  return new Refusal(STAND_IN_CODE[kind], msg)
}
