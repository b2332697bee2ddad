/**
 * A process between a client and a server, which lets what the client says wait. Arguments: where to listen and where it
 * leads, each `tcp:<port>` on this machine or `unix:<path>`.
 *
 * It prints a line of JSON once it listens: `{ port }`. A number on its input is the wait from then on, in nanoseconds; it
 * answers with the milliseconds that each piece really waited since the number before.
 */
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { createInterface } from 'node:readline'

/** A timer may be late by a millisecond; the rest is waited for in turns of the loop. */
const TIMER_NS = 2_000_000n

let delayNs = 0n
let waitedMs: number[] = []
const [listenAt, leadsTo] = process.argv.slice(2).map(addressOf)

function addressOf(text: string): { port: number } | { path: string } {
  const [kind, ...rest] = text.split(':')
  return kind === 'tcp' ? { port: Number(rest[0]) } : { path: rest.join(':') }
}

const server = createServer((client) => {
  const upstream = connect({ host: '127.0.0.1', ...(leadsTo as { port: number }) })
  for (const socket of [client, upstream]) socket.setNoDelay(true)
  delay(client, upstream)
  upstream.on('data', (chunk) => client.write(chunk))
  for (const [one, other] of [
    [client, upstream],
    [upstream, client],
  ] as const) {
    one.on('error', () => other.destroy())
    one.on('close', () => other.destroy())
  }
})
server.listen(listenAt, () => {
  const address = server.address()
  console.log(JSON.stringify({ port: typeof address === 'string' ? 0 : (address as AddressInfo).port }))
})

/** Hands on each piece after its wait, in order. */
function delay(from: Socket, to: Socket): void {
  const waiting: { chunk: Buffer; arrivedNs: bigint; dueNs: bigint }[] = []
  const pump = () => {
    for (let next = waiting[0]; next; next = waiting[0]) {
      const nowNs = process.hrtime.bigint()
      if (nowNs < next.dueNs) {
        const restNs = next.dueNs - nowNs
        if (restNs > TIMER_NS) setTimeout(pump, Number(restNs - TIMER_NS) / 1e6)
        else setImmediate(pump)
        return
      }
      waiting.shift()
      to.write(next.chunk)
      waitedMs.push(Number(process.hrtime.bigint() - next.arrivedNs) / 1e6)
    }
  }
  from.on('data', (chunk) => {
    const arrivedNs = process.hrtime.bigint()
    const idle = waiting.length === 0
    waiting.push({ chunk, arrivedNs, dueNs: arrivedNs + delayNs })
    if (idle) pump()
  })
}

createInterface({ input: process.stdin })
  .on('line', (line) => {
    delayNs = BigInt(line)
    console.log(JSON.stringify(waitedMs))
    waitedMs = []
  })
  .on('close', () => process.exit())
