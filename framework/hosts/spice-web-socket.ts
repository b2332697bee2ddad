import { createHash, randomBytes } from 'node:crypto'
import type { CallOptions } from '../core/index.ts'
import { WebSocketByteStream, webSocketError } from '../protocols/spice/web-socket/stream.ts'
import { afterPrelude, connectTcp, connectTls, type TlsAddress } from '../transport/index.ts'
import type { ByteStream } from '../wire/byte-stream.ts'

const KEY_BYTES = 16
const HEAD_MAX_BYTES = 16 * 1024
/** RFC 6455, section 1.3. */
const ACCEPT_SUFFIX = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'

/**
 * Opens a WebSocket over TCP or TLS, of the subprotocol `binary` that SPICE servers and proxies speak.
 *
 * @param url `ws://` or `wss://`; over TLS the peer is verified as `tls` says.
 * @throws `ATP_SPICE_WEBSOCKET` where none is accepted, what `connectTcp` and `connectTls` throw, `ATP_INTERRUPTED`.
 */
export async function connectWebSocket(
  url: string,
  tls: Omit<TlsAddress, 'host' | 'port'>,
  options: CallOptions,
): Promise<ByteStream> {
  const { protocol, hostname, port, host, pathname, search } = new URL(url)
  const isSecure = protocol === 'wss:'
  const address = { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port || (isSecure ? 443 : 80)) }
  const stream = isSecure ? await connectTls({ ...tls, ...address }, options) : await connectTcp(address, options)
  const key = randomBytes(KEY_BYTES).toString('base64')
  const asked = [
    `GET ${pathname}${search} HTTP/1.1`,
    `Host: ${host}`,
    'Upgrade: websocket',
    'Connection: Upgrade',
    `Sec-WebSocket-Key: ${key}`,
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Protocol: binary',
  ]
  const opened = afterPrelude(
    stream,
    {
      missing: 'did not accept a WebSocket',
      maxBytes: HEAD_MAX_BYTES,
      lengthIn: (received) => {
        const end = received.indexOf('\r\n\r\n')
        if (end < 0) return undefined
        assertAccepted(url, received.subarray(0, end).toString('latin1'), key)
        return end + 4
      },
      ended: (reason) => webSocketError(url, 'the connection ended before a WebSocket was accepted', reason),
    },
    options,
  )
  // A write that fails is the end of the stream, of which the other one tells.
  stream.write(Buffer.from(`${asked.join('\r\n')}\r\n\r\n`)).catch(() => {})
  return new WebSocketByteStream(url, await opened)
}

function assertAccepted(url: string, head: string, key: string): void {
  const [status = '', ...lines] = head.split('\r\n')
  if (!/^HTTP\/1\.1 101(?: |$)/.test(status)) throw webSocketError(url, `no WebSocket is accepted: ${status}`)
  const headers = new Map(
    lines.map((line) => {
      const at = line.indexOf(':')
      return [line.slice(0, at).trim().toLowerCase(), line.slice(at + 1).trim()] as const
    }),
  )
  const accept = createHash('sha1').update(`${key}${ACCEPT_SUFFIX}`).digest('base64')
  if (headers.get('sec-websocket-accept') !== accept) throw webSocketError(url, 'what answers is no WebSocket server')
  if (headers.has('sec-websocket-extensions')) throw webSocketError(url, 'the server uses an extension')
}
