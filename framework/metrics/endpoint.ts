import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { isIPv6, type AddressInfo } from 'node:net'
import { configError, logger, messageOf, type Secret } from '../core/index.ts'
import { isSameSecret } from '../core/same-secret.ts'

export interface EndpointOptions {
  host: string
  /** 0: any free port. */
  port: number
  /** What a request must bear. */
  token: Secret
  /** The page. */
  text: () => Promise<string>
}

const REQUEST_TIMEOUT_MS = 10_000
const MAX_HEADER_BYTES = 8192
const MAX_CONNECTIONS = 32
const CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

/** `GET /metrics` for whoever bears the token. Anything else is refused without a word about the request. */
export class MetricsEndpoint {
  readonly #server: Server
  readonly #options: EndpointOptions
  #url = ''

  private constructor(options: EndpointOptions) {
    this.#options = options
    const limits = { maxHeaderSize: MAX_HEADER_BYTES, requestTimeout: REQUEST_TIMEOUT_MS }
    this.#server = createServer(limits, (request, response) => void this.#answer(request, response))
    this.#server.maxConnections = MAX_CONNECTIONS
  }

  /** @throws `ATP_METRICS_LISTEN` when the address is in use or cannot be used. */
  static async listen(options: EndpointOptions): Promise<MetricsEndpoint> {
    const endpoint = new MetricsEndpoint(options)
    const { host, port } = options
    await new Promise<void>((resolve, reject) => {
      endpoint.#server.once('error', (error) =>
        reject(
          configError('ATP_METRICS_LISTEN', `metrics cannot be served on ${host}:${port}: ${messageOf(error)}`, {
            cause: error,
            remedy: 'set metrics.port to a free port, or to 0 for any; another run may have this one',
          }),
        ),
      )
      endpoint.#server.listen(port, host, resolve)
    })
    const { address, port: chosen } = endpoint.#server.address() as AddressInfo
    endpoint.#url = `http://${isIPv6(address) ? `[${address}]` : address}:${chosen}/metrics`
    endpoint.#server.on('error', (error) => logger('metrics').error(`the endpoint: ${messageOf(error)}`))
    return endpoint
  }

  /** Where it is, with the port that was chosen. */
  get url(): string {
    return this.#url
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve())
      this.#server.closeAllConnections()
    })
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const refuse = (status: number, headers: Record<string, string> = {}) =>
      // A body that nobody reads would be taken for the next request.
      response.writeHead(status, { ...headers, 'content-length': 0, connection: 'close' }).end()
    const [path] = (request.url ?? '').split('?', 1)
    if (path !== '/metrics') return void refuse(404)
    if (request.method !== 'GET') return void refuse(405, { allow: 'GET' })
    const [, given = ''] = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '') ?? []
    if (!isSameSecret(given, this.#options.token.reveal())) return void refuse(401, { 'www-authenticate': 'Bearer' })
    try {
      const body = Buffer.from(await this.#options.text())
      response.writeHead(200, {
        'content-type': CONTENT_TYPE,
        'content-length': body.length,
        'cache-control': 'no-store',
      })
      response.end(body)
    } catch (error) {
      logger('metrics').error(`the page could not be made: ${messageOf(error)}`)
      refuse(500)
    }
  }
}
