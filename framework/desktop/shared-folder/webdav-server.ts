import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { ByteStream } from '../../wire/byte-stream.ts'
import { resolveFolderPath } from './folder-path.ts'
import { httpFailureOf, HttpFailure } from './http-failure.ts'
import { StreamDuplex } from './stream-duplex.ts'
import { WEBDAV_METHODS } from './webdav-methods.ts'

/** Serves one folder of this machine over WebDAV, to whoever comes over a byte stream. It listens nowhere. */
export class WebDavServer {
  readonly #root: string
  readonly #server: Server
  readonly #open = new Set<StreamDuplex>()

  /** @param root as `realpath` gives it. */
  constructor(root: string) {
    this.#root = root
    this.#server = createServer((request, response) => void this.#serve(request, response))
  }

  /** Speaks HTTP with the peer of a stream until that ends. */
  serve(stream: ByteStream): void {
    const duplex = new StreamDuplex(stream)
    this.#open.add(duplex)
    duplex.once('close', () => this.#open.delete(duplex))
    // A connection that breaks is the guest's loss alone.
    duplex.on('error', () => {})
    this.#server.emit('connection', duplex)
  }

  /** Ends every connection. */
  close(): void {
    for (const duplex of this.#open) duplex.destroy()
    this.#server.close()
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const method = WEBDAV_METHODS[request.method ?? '']
      if (!method) throw new HttpFailure(405, `${request.method} is not supported`)
      const at = await resolveFolderPath(this.#root, request.url ?? '')
      await method({ root: this.#root, at, request, response })
    } catch (error) {
      this.#refuse(request, response, httpFailureOf(error))
    }
  }

  #refuse(request: IncomingMessage, response: ServerResponse, { status, message }: HttpFailure): void {
    // Half an answer cannot be taken back: the connection ends, so that nobody takes it for a whole one.
    if (response.headersSent) return void request.socket.destroy()
    const body = Buffer.from(`${message}\n`)
    const allow = status === 405 ? { Allow: Object.keys(WEBDAV_METHODS).join(', ') } : {}
    // What else a refused request brings is not read.
    const close = request.complete ? {} : { Connection: 'close' }
    response.writeHead(status, { 'Content-Type': 'text/plain; charset=utf-8', ...allow, ...close })
    response.end(request.method === 'HEAD' ? undefined : body)
  }
}
