import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'

/** A request as the server got it. */
export interface Got {
  method: string
  /** Path without the query. */
  path: string
  query: URLSearchParams
  token: string | undefined
  body: unknown
  headers: IncomingMessage['headers']
}

/** Answers a request: a value is sent as JSON, a function does what it likes, undefined is an unknown path. */
export type Answer = (got: Got, response: ServerResponse, socket: Socket) => unknown

/** Success with data. */
export const ok = (data?: unknown) => ({ status: 0, msg: '操作成功', ...(data === undefined ? {} : { data }) })
/** A page with all of the rows. */
export const page = (list: unknown[]) => ok({ list, total: list.length, pageNum: 1, pageSize: 100, pages: 1 })

/** A server of canned answers that keeps what it was asked. */
export class CannedServer {
  readonly got: Got[] = []
  /** Answers by `METHOD /path`; a login is answered with `token-1`, `token-2`… unless told otherwise. */
  readonly answers = new Map<string, Answer>()
  logins = 0
  readonly #server: Server
  readonly #scheme: string

  private constructor(tls?: { key: string; cert: string }) {
    const handle = (request: IncomingMessage, response: ServerResponse) => void this.#handle(request, response)
    this.#scheme = tls ? 'https' : 'http'
    this.#server = tls ? createTlsServer(tls, handle) : createServer(handle)
    this.on('POST /ocloud/v1/login', () => ok({ token: `token-${++this.logins}`, username: 'admin', roleLevel: '1' }))
    this.on('POST /ocloud/v1/logout', () => ok())
  }

  static async start(tls?: { key: string; cert: string }): Promise<CannedServer> {
    const canned = new CannedServer(tls)
    await new Promise<void>((resolve) => canned.#server.listen(0, '127.0.0.1', resolve))
    return canned
  }

  get url(): string {
    return `${this.#scheme}://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  on(request: string, answer: Answer): this {
    this.answers.set(request, answer)
    return this
  }

  /** Requests to one operation. */
  to(request: string): Got[] {
    return this.got.filter(({ method, path }) => `${method} ${path}` === request)
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    try {
      for await (const chunk of request) chunks.push(chunk as Buffer)
    } catch {
      return
    }
    const content = Buffer.concat(chunks).toString('utf8')
    const url = new URL(request.url as string, 'http://server')
    const got: Got = {
      method: request.method as string,
      path: url.pathname,
      query: url.searchParams,
      token: request.headers['token'] as string | undefined,
      body: content === '' ? undefined : JSON.parse(content),
      headers: request.headers,
    }
    this.got.push(got)
    const answer = this.answers.get(`${got.method} ${got.path}`)
    const value = answer ? answer(got, response, request.socket) : undefined
    if (response.headersSent || response.writableEnded || request.socket.destroyed || value === HELD) return
    if (value === undefined) sendJson(response, { timestamp: 1, status: 404, error: 'Not Found', path: got.path }, 404)
    else sendJson(response, value)
  }
}

/** Answer of an answer function that has answered itself, or never will. */
export const HELD = Symbol('held')

/** Sends JSON. */
export function sendJson(response: ServerResponse, value: unknown, httpStatus = 200): typeof HELD {
  response.writeHead(httpStatus, { 'content-type': 'application/json;charset=UTF-8' })
  response.end(JSON.stringify(value))
  return HELD
}
