/** A request that is answered with this status. */
export class HttpFailure extends Error {
  readonly status: number

  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

const STATUS_BY_CODE: Readonly<Record<string, number>> = {
  ENOENT: 404,
  ENOTDIR: 409,
  EISDIR: 405,
  EEXIST: 405,
  ENOTEMPTY: 409,
  EACCES: 403,
  EPERM: 403,
  EROFS: 403,
  ENAMETOOLONG: 414,
  ENOSPC: 507,
  EDQUOT: 507,
}

/** The failure that anything thrown while a request was served amounts to. */
export function httpFailureOf(error: unknown): HttpFailure {
  if (error instanceof HttpFailure) return error
  const { code = '', message } = error as NodeJS.ErrnoException
  return new HttpFailure(STATUS_BY_CODE[code] ?? 500, message)
}
