// Meets a lying daemon in every way, many times; prints what that cost. Alone in its process, so that memory counts.
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { LibvirtClient } from '../../../framework/protocols/libvirt/index.ts'
import { LengthFramer, XdrReader } from '../../../framework/wire/index.ts'
import { connectUnix } from '../../../framework/transport/index.ts'
import { readHeader } from '../../../framework/protocols/libvirt/codec.ts'
import { frame, LIES } from './lies.ts'

const ROUNDS = 40
/** Before measuring: code that is compiled once, and the heap's first growth, cost what they cost. */
const WARM_UP_ROUNDS = 20

/** Answers the first call in its own way. */
type Answer = (serial: number) => { bytes: Buffer; end: boolean }
const answers: Answer[] = [
  ...Object.values(LIES).map((lie) => (serial: number) => ({ bytes: lie(serial), end: false })),
  // Much announced, some of it sent, and then the end.
  () => ({ bytes: frame({ length: 33_554_432 }, Buffer.alloc(100_000)), end: true }),
  // A frame that breaks off.
  (serial) => ({ bytes: frame({ serial, length: 64 }), end: true }),
]
let answer: Answer = answers[0] as Answer

const folder = mkdtempSync('/tmp/atp-hostile-')
const server = createServer((socket) => {
  socket.on('error', () => {})
  const framer = new LengthFramer({ minBytes: 28, maxBytes: 1_000_000 }, (call) => {
    const { bytes, end } = answer(readHeader(new XdrReader(call)).serial)
    if (end) socket.end(bytes)
    else socket.write(bytes)
  })
  socket.on('data', (chunk) => framer.push(chunk))
})
server.listen(`${folder}/s`)
await once(server, 'listening')

let opened = 0
async function round(): Promise<void> {
  for (answer of answers) {
    opened++
    await LibvirtClient.open(await connectUnix(`${folder}/s`), { path: '/session', timeoutMs: 1000 }).then(
      () => {
        throw new Error('a lie was believed')
      },
      () => {},
    )
  }
  // A heap that is let grow for a while would hide what is kept.
  globalThis.gc?.()
}
for (let count = 0; count < WARM_UP_ROUNDS; count++) await round()
opened = 0
const beforeBytes = process.memoryUsage().rss
for (let count = 0; count < ROUNDS; count++) await round()
const growthBytes = process.memoryUsage().rss - beforeBytes
const timers = process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
process.stdout.write(JSON.stringify({ growthBytes, opened, pending: timers }))
server.close()
rmSync(folder, { recursive: true })
