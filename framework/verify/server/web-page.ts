import { readFile } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { logger, messageOf } from '../../core/index.ts'

/** Where the page is; what it needs is beside it. */
const PATH = '/verifier/'
const FOLDER = new URL('../../../guest/web/', import.meta.url)
const TYPES = new Map([
  ['index.html', 'text/html; charset=utf-8'],
  ['style.css', 'text/css; charset=utf-8'],
  ['agent.js', 'text/javascript; charset=utf-8'],
])
/** A host and port as a request names them, and nothing that would go on in a header. */
const HOST = /^[\w.-]+(:\d+)?$|^\[[\da-f:.]+\](:\d+)?$/i
const log = logger('verify')
let bundled: Promise<string> | undefined

/**
 * Answers requests for the web verifier: the page that a guest's browser opens at `/verifier/` to become an agent.
 *
 * The page may run its own script only, speak with this server only, and is isolated from all others, which gives it
 * the finer clock. Its token stays in the part of its address that browsers do not send.
 *
 * @returns whether the request was one for the page
 */
export function serveWebPage(request: IncomingMessage, response: ServerResponse): boolean {
  const [path = ''] = (request.url ?? '').split('?')
  if (path !== PATH.slice(0, -1) && !path.startsWith(PATH)) return false
  const name = path === PATH ? 'index.html' : path.slice(PATH.length)
  const type = TYPES.get(name)
  if (request.method !== 'GET' && request.method !== 'HEAD') respond(response, 405, 'only GET and HEAD\n')
  else if (path === PATH.slice(0, -1)) response.writeHead(308, { location: PATH }).end()
  else if (type === undefined) respond(response, 404, 'there is no such file\n')
  else void send(request, response, name, type)
  return true
}

async function send(request: IncomingMessage, response: ServerResponse, name: string, type: string): Promise<void> {
  try {
    const body = Buffer.from(await contentOf(name))
    response.writeHead(200, {
      ...headersFor(request.headers.host),
      'content-type': type,
      'content-length': body.length,
    })
    response.end(request.method === 'HEAD' ? undefined : body)
  } catch (error) {
    log.error('the web verifier cannot be served: {reason}', { reason: messageOf(error) })
    respond(response, 500, 'the page cannot be served; the log of the server says why\n')
  }
}

async function contentOf(name: string): Promise<string> {
  try {
    return await readFile(new URL(name, FOLDER), 'utf8')
  } catch (error) {
    // In the repository the script has not been built.
    if (name !== 'agent.js' || (error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  bundled ??= import('../../../guest/web/bundle.ts').then(({ bundleWebVerifier }) => bundleWebVerifier())
  bundled.catch(() => (bundled = undefined))
  return bundled
}

function headersFor(host: string | undefined): Record<string, string> {
  // Not every browser takes 'self' for the WebSockets of the same server too.
  const sockets = host !== undefined && HOST.test(host) ? ` ws://${host} wss://${host}` : ''
  return {
    'content-security-policy':
      `default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'${sockets}; ` +
      `base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-embedder-policy': 'require-corp',
    'cross-origin-resource-policy': 'same-origin',
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
    'cache-control': 'no-store',
  }
}

function respond(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8', connection: 'close' }).end(text)
}
