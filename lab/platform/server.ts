import { timingSafeEqual } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { isAtpError, logger, messageOf } from '../../framework/core/index.ts'
import { FAULT, type Fault, type Faults } from './faults.ts'
import type { Envelope, Operation } from './operation.ts'
import { present } from './present.ts'
import { BAD_TOKEN, PLATFORM_CODE, refuse, Refusal, STAND_IN_CODE } from './refusal.ts'
import { readBody, readQuery } from './request.ts'
import { Router } from './router.ts'
import type { Shape } from './schema.ts'
import type { PlatformState } from './state.ts'

const log = logger('lab')

/** Where faults are set; not part of the platform. Calls carry the header `Fault-Token`. */
const FAULT_PATH = '/stand-in/faults'
const EXPIRE_PATH = '/stand-in/expire-tokens'

const OK = '操作成功'
const SUCCESS_CODE = 200

interface Reply {
  httpStatus: number
  body: object
}

/** The HTTP side of the platform: finds the operation, checks the call, wraps the answer, and makes the faults. */
export class PlatformServer {
  readonly #state: PlatformState
  readonly #router: Router
  readonly #faults: Faults
  readonly #faultToken: string
  readonly #server: Server
  readonly #closing = new AbortController()

  constructor(state: PlatformState, operations: readonly Operation[], faults: Faults, faultToken: string) {
    this.#state = state
    this.#router = new Router(operations)
    this.#faults = faults
    this.#faultToken = faultToken
    this.#server = createServer((request, response) => void this.#serve(request, response))
    this.#server.maxConnections = 1000
  }

  /** Listens on loopback; resolves to the URL. */
  listen(port = 0): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen({ host: '127.0.0.1', port }, () => {
        this.#server.off('error', reject)
        resolve(`http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`)
      })
    })
  }

  /** Ends every connection, also in the middle of a call. */
  async close(): Promise<void> {
    this.#closing.abort()
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    this.#server.closeAllConnections()
    await closed
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // A caller who goes away is no reason to end work that began.
    request.on('error', () => {})
    response.on('error', () => {})
    try {
      const url = new URL(request.url ?? '/', 'http://platform')
      if (url.pathname.startsWith('/stand-in/')) {
        const { httpStatus, body } = await this.#serveFaults(request, url)
        return send(response, httpStatus, JSON.stringify(body))
      }
      const found = this.#router.find(request.method ?? 'GET', url.pathname)
      if (found === undefined || found === 'method') return this.#unknown(response, url.pathname, found)
      await this.#answer(found.operation, found.path, url, request, response)
    } catch (error) {
      log.error('{method} {url}: {reason}', { method: request.method, url: request.url, reason: messageOf(error) })
      if (!response.headersSent)
        send(response, 500, JSON.stringify({ status: STAND_IN_CODE.failed, msg: 'internal error' }))
      else response.destroy()
    }
  }

  async #answer(
    operation: Operation,
    path: Record<string, string>,
    url: URL,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const { name } = operation
    const late = this.#faults.hit('latency', name)
    if (late) await this.#state.clock.wait(late.ms, this.#closing.signal)
    if (this.#faults.hit('drop', name)) return void response.destroy()
    if (this.#faults.hit('http-500', name)) {
      return send(response, 500, JSON.stringify({ status: 500, error: 'Internal Server Error', path: url.pathname }))
    }
    if (this.#faults.hit('html', name)) {
      return send(response, 200, '<!doctype html><html><body>Bad gateway</body></html>', 'text/html; charset=utf-8')
    }
    if (this.#faults.hit('expire-token', name)) this.#state.sessions.expireAll()
    const { httpStatus, body } = await this.#run(operation, path, url, request)
    const text = Buffer.from(JSON.stringify(body), 'utf8')
    if (this.#faults.hit('truncated', name)) {
      response.writeHead(httpStatus, { 'content-type': 'application/json', 'content-length': text.length })
      response.write(text.subarray(0, Math.floor(text.length / 2)), () => response.destroy())
      return
    }
    send(response, httpStatus, text)
  }

  async #run(operation: Operation, path: Record<string, string>, url: URL, request: IncomingMessage): Promise<Reply> {
    const { behaviour } = this.#state
    try {
      const token = request.headers['token']
      const session = this.#state.sessions.use(Array.isArray(token) ? token[0] : token)
      if (operation.token && session?.kind !== 'admin') throw new Refusal(PLATFORM_CODE.token, BAD_TOKEN)
      const query = readQuery(operation, url.searchParams)
      const body = await readBody(operation, request)
      const refused = this.#faults.hit('refuse', operation.name)
      if (refused) throw new Refusal(refused.code ?? STAND_IN_CODE.fault, refused.reason)
      const decoded = Object.fromEntries(Object.entries(path).map(([name, part]) => [name, decodePart(part)]))
      const { signal } = this.#closing
      const data = await operation.handle({ state: this.#state, path: decoded, query, body, session, signal })
      return { httpStatus: 200, body: this.#success(operation, data) }
    } catch (error) {
      const refusal = error instanceof Refusal ? error : failure(operation.name, error)
      const httpStatus = refusal.status === PLATFORM_CODE.token ? behaviour.tokenErrorStatus : behaviour.errorStatus
      return { httpStatus, body: failureBody(operation.envelope, refusal) }
    }
  }

  #success({ envelope, answer }: Operation, data: unknown): object {
    const { behaviour } = this.#state
    const shown = answer ? present(answer, data, behaviour) : null
    if (envelope === 'B') return { status: 0, msg: OK }
    if (envelope === 'R') return { status: 0, msg: OK, data: shown }
    if (envelope === 'C') return { returnCode: SUCCESS_CODE, msg: OK, ...(shown as object) }
    const status = behaviour.userEnvelope === 'both' ? { status: 0 } : {}
    return { ...status, returnCode: SUCCESS_CODE, msg: OK, data: shown }
  }

  #unknown(response: ServerResponse, path: string, found: 'method' | undefined): void {
    const [status, error] = found === 'method' ? [405, 'Method Not Allowed'] : [404, 'Not Found']
    if (this.#state.behaviour.unknownPath === 'envelope') {
      const msg = `${error}: ${path}`
      return send(response, 200, JSON.stringify({ status: STAND_IN_CODE.unknownPath, msg }))
    }
    const timestamp = new Date(this.#state.clock.now()).toISOString()
    send(response, status as number, JSON.stringify({ timestamp, status, error, path }))
  }

  async #serveFaults(request: IncomingMessage, { pathname }: URL): Promise<Reply> {
    const given = Buffer.from(String(request.headers['fault-token'] ?? ''))
    const expected = Buffer.from(this.#faultToken)
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
      return { httpStatus: 403, body: { error: 'wrong Fault-Token' } }
    }
    const { method } = request
    try {
      if (pathname === EXPIRE_PATH && method === 'POST') {
        this.#state.sessions.expireAll()
        return { httpStatus: 200, body: {} }
      }
      if (pathname === FAULT_PATH && method === 'GET') return { httpStatus: 200, body: this.#faults.list() }
      if (pathname === FAULT_PATH && method === 'POST') {
        const id = this.#faults.add((await readBody({ body: FAULT as Shape }, request)) as Fault)
        return { httpStatus: 200, body: { id } }
      }
      if (pathname === FAULT_PATH && method === 'DELETE') {
        this.#faults.clear()
        return { httpStatus: 200, body: {} }
      }
      if (pathname.startsWith(`${FAULT_PATH}/`) && method === 'DELETE') {
        const removed = this.#faults.remove(pathname.slice(FAULT_PATH.length + 1))
        return removed ? { httpStatus: 200, body: {} } : { httpStatus: 404, body: { error: 'no such fault' } }
      }
    } catch (error) {
      if (error instanceof Refusal) return { httpStatus: 400, body: { error: error.message } }
      throw error
    }
    return { httpStatus: 404, body: { error: 'no such path' } }
  }
}

function send(response: ServerResponse, status: number, body: string | Buffer, type = 'application/json'): void {
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) })
  response.end(body)
}

function decodePart(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    throw refuse('invalidValue', `"${part}" in the path is not encoded properly`)
  }
}

function failure(operation: string, error: unknown): Refusal {
  // What hypervisors refuse is part of life; anything else is a defect of the stand-in.
  if (isAtpError(error) && error.branch !== 'internal')
    log.debug('{operation}: {reason}', { operation, reason: messageOf(error) })
  else log.error('{operation}: {reason}', { operation, reason: messageOf(error) })
  return refuse('failed', messageOf(error))
}

function failureBody(envelope: Envelope, { status, message: msg }: Refusal): object {
  if (envelope === 'C') return { returnCode: status, msg }
  if (envelope === 'U') return { status, returnCode: status, msg }
  return { status, msg }
}
