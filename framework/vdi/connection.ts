import { type Dispatcher, Pool } from 'undici'
import { configError } from '../core/index.ts'
import type { CallLimit } from './call-limit.ts'
import { excerpt } from './excerpt.ts'
import { answerError, type CallPlace, transportError } from './errors.ts'
import type { WireAnswer } from './envelope.ts'
import type { Operation } from './operation.ts'

/** Largest answer that is read; a list that is not paged may be long. */
const MAX_ANSWER_BYTES = 16 * 1024 * 1024
/** Connections to the platform at a time; what it bears is not documented. */
const CONNECTIONS = 16
const EXCERPT = 80
const SEARCHED = 4096
const JSON_TYPE = /^application\/([\w.-]+\+)?json\b/i

/** Trust in the platform's certificate. */
export interface VdiTls {
  /** Certificates of authorities in PEM, instead of those that Node trusts. */
  ca?: string | Buffer | (string | Buffer)[]
  /** false trusts any certificate, and whoever shows one reads the password's hash. Default true. */
  verify?: boolean
}

/** One request, ready to be sent. */
export interface WireRequest {
  /** Path and query, below the base URL. */
  path: string
  /** JSON. */
  body?: string
}

/** Sends requests to one platform and reads its answers as JSON, of bounded size. Follows no redirects. */
export class VdiConnection {
  /** Scheme, host, port and path prefix, without a slash at the end. */
  readonly baseUrl: string
  readonly #prefix: string
  readonly #pool: Pool

  /** @throws `ATP_VDI_OPTIONS` for a base URL that is none, or that holds a password or a query */
  constructor(baseUrl: string, tls: VdiTls = {}) {
    const url = URL.parse(baseUrl)
    if (!url || !/^https?:$/.test(url.protocol) || url.username || url.password || url.search || url.hash) {
      // The text itself is not shown: it may hold a password.
      throw configError('ATP_VDI_OPTIONS', 'baseUrl is no plain http or https address', {
        remedy: 'write scheme, host and port only: https://vdi.example:8088',
      })
    }
    this.#prefix = url.pathname.replace(/\/+$/, '')
    this.baseUrl = `${url.origin}${this.#prefix}`
    this.#pool = new Pool(url.origin, {
      connections: CONNECTIONS,
      maxResponseSize: MAX_ANSWER_BYTES,
      // The caller's deadline bounds both.
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: { ca: tls.ca, rejectUnauthorized: tls.verify ?? true },
    })
  }

  /**
   * One request and its answer, of any HTTP status. Answers other than success may be no JSON; their value is then
   * undefined.
   *
   * @throws `ATP_VDI_CONNECT`, `ATP_VDI_TLS`, `ATP_VDI_ANSWER`; undici's error when the limit is reached
   */
  async exchange(
    place: CallPlace,
    { path, body }: WireRequest,
    token: string | undefined,
    limit: CallLimit,
  ): Promise<WireAnswer> {
    let answer: RawAnswer
    try {
      answer = await this.#send(place.operation.method, path, headersOf(token, body), body, limit)
    } catch (error) {
      if (limit.over) throw error
      throw transportError(place, error, MAX_ANSWER_BYTES)
    }
    const { httpStatus, type, content } = answer
    const succeeded = httpStatus >= 200 && httpStatus < 300
    try {
      if (!succeeded || JSON_TYPE.test(type)) return { httpStatus, value: JSON.parse(content) }
    } catch {
      if (!succeeded) return { httpStatus, value: undefined }
      throw answerError(place, `${content.length} characters that are no whole JSON`)
    }
    const line = excerpt(content.slice(0, SEARCHED).replaceAll(/\s+/g, ' ').trim(), EXCERPT)
    throw answerError(place, `${type || 'an unnamed type'} instead of JSON: ${JSON.stringify(line)}`)
  }

  /** Ends all connections; requests under way are aborted. */
  async close(): Promise<void> {
    await this.#pool.destroy()
  }
  /** Collects the answer without a stream in between, whose making costs more than our checks. */
  #send(
    method: Operation['method'],
    path: string,
    headers: Record<string, string>,
    body: string | undefined,
    limit: CallLimit,
  ): Promise<RawAnswer> {
    return new Promise((resolve, reject) => {
      const chunks: Buffer[] = []
      let httpStatus = 0
      let type = ''
      let underWay: Dispatcher.DispatchController | undefined
      const stop = () => underWay?.abort(new Error('the call is over'))
      const forget = limit.onEnd(stop)
      this.#pool.dispatch(
        { method, path: this.#prefix + path, headers, body },
        {
          onRequestStart(controller) {
            underWay = controller
            if (limit.over) stop()
          },
          onResponseStart(_, status, { 'content-type': contentType }) {
            httpStatus = status
            type = String(contentType ?? '')
          },
          onResponseData(_, chunk) {
            chunks.push(chunk)
          },
          onResponseEnd() {
            forget()
            resolve({ httpStatus, type, content: textOf(chunks) })
          },
          onResponseError(_, error) {
            forget()
            reject(error)
          },
        },
      )
    })
  }
}

interface RawAnswer {
  httpStatus: number
  /** Content type, empty for none. */
  type: string
  content: string
}

function textOf(chunks: Buffer[]): string {
  const [first] = chunks
  return (chunks.length === 1 && first ? first : Buffer.concat(chunks)).toString('utf8')
}

function headersOf(token: string | undefined, body: string | undefined): Record<string, string> {
  const headers: Record<string, string> = { accept: 'application/json' }
  if (body !== undefined) headers['content-type'] = 'application/json;charset=UTF-8'
  if (token !== undefined) headers['token'] = token
  return headers
}
