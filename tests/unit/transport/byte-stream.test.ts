import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { afterAll, beforeAll } from 'vitest'
import {
  afterPrelude,
  connectTcp,
  connectTls,
  connectUnix,
  memoryPair,
  spawnStream,
} from '../../../framework/transport/index.ts'
import type { ByteStream } from '../../../framework/wire/index.ts'
import { LabCa } from '../../support/remote-host/lab-ca.ts'
import { describeByteStream, type FarEnd, type StreamPair } from './stream-contract.ts'

/** Passes its standard input and output on to a socket, as the programs behind ssh do. */
const BRIDGE = `const socket = require('node:net').connect(process.argv[1])
process.stdin.pipe(socket).pipe(process.stdout)
socket.on('error', () => process.exit(1))`

let folder: string
let ca: string
const servers: Server[] = []
const accepted: Socket[] = []
const wanted: ((socket: Socket) => void)[] = []
let tcpPort: number
let tlsPort: number
let greetingPort: number

function accept(socket: Socket): void {
  socket.on('error', () => {})
  const next = wanted.shift()
  if (next) next(socket)
  else accepted.push(socket)
}

async function listen(server: Server, where: string | { port: number; host: string }): Promise<number> {
  servers.push(server)
  server.listen(where)
  await once(server, 'listening')
  return typeof where === 'string' ? 0 : (server.address() as AddressInfo).port
}

beforeAll(async () => {
  folder = mkdtempSync('/tmp/atp-transport-')
  const authority = new LabCa(folder, 'lab')
  const files = authority.issue('server', { use: 'server', names: ['IP:127.0.0.1'] })
  ca = readFileSync(authority.cert, 'utf8')
  const options = { pauseOnConnect: true, noDelay: true }
  await listen(createServer(options, accept), `${folder}/s`)
  tcpPort = await listen(createServer(options, accept), { port: 0, host: '127.0.0.1' })
  const greeting = createServer(options, (socket) => {
    socket.write('ready\n')
    accept(socket)
  })
  greetingPort = await listen(greeting, { port: 0, host: '127.0.0.1' })
  const tls = createTlsServer({ cert: readFileSync(files.cert), key: readFileSync(files.key), noDelay: true }, accept)
  tlsPort = await listen(tls, { port: 0, host: '127.0.0.1' })
})

afterAll(async () => {
  for (const server of servers) {
    server.close()
    await once(server, 'close')
  }
  rmSync(folder, { recursive: true })
})

/** A stream from `connect`, and the socket our server accepted for it. */
async function pair(connect: () => Promise<ByteStream>): Promise<StreamPair> {
  const socket = new Promise<Socket>((resolve) => {
    const waiting = accepted.shift()
    if (waiting) resolve(waiting)
    else wanted.push(resolve)
  })
  const near = await connect()
  return { near, far: overSocket(await socket) }
}

function overSocket(socket: Socket): FarEnd {
  const chunks: Buffer[] = []
  return {
    send: (bytes) =>
      new Promise((resolve, reject) => socket.write(bytes, (error) => (error ? reject(error) : resolve()))),
    take: () => socket.on('data', (chunk) => chunks.push(chunk)).resume(),
    received: () => Buffer.concat(chunks),
    end: () => socket.end(),
    destroy: () => socket.destroy(),
  }
}

describeByteStream('a Unix socket', () => pair(() => connectUnix(`${folder}/s`, { timeoutMs: 5000 })))
describeByteStream('TCP', () => pair(() => connectTcp({ host: '127.0.0.1', port: tcpPort }, { timeoutMs: 5000 })))
describeByteStream('TLS', () => pair(() => connectTls({ host: '127.0.0.1', port: tlsPort, ca }, { timeoutMs: 5000 })))
describeByteStream('a process', () => pair(() => spawnStream([process.execPath, '-e', BRIDGE, `${folder}/s`])))
describeByteStream('TCP, behind a prelude', () =>
  pair(async () =>
    afterPrelude(
      await connectTcp({ host: '127.0.0.1', port: greetingPort }),
      {
        missing: 'did not get ready',
        maxBytes: 6,
        lengthIn: (received) => (received.includes('\n') ? 6 : undefined),
        ended: () => new Error('ended'),
      },
      { timeoutMs: 5000 },
    ),
  ),
)
describeByteStream('memory', async () => {
  const [near, end] = memoryPair()
  const chunks: Uint8Array[] = []
  let started = false
  const take = () => {
    if (started) return
    started = true
    end.start({ onData: (chunk) => chunks.push(chunk), onClose: () => {} })
  }
  return {
    near,
    far: {
      send: (bytes) => end.write(bytes),
      take,
      received: () => Buffer.concat(chunks),
      end: () => end.destroy(),
      destroy: () => end.destroy(),
    },
  }
})
