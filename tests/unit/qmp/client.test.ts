import { describe, expect, it } from 'vitest'
import { TranscriptRecorder } from '../../../framework/protocols/transcript.ts'
import { QmpClient, type QmpEvent } from '../../../framework/protocols/qmp/index.ts'
import { memoryPair } from '../../../framework/transport/index.ts'
import type { ByteStream } from '../../../framework/wire/byte-stream.ts'

const GREETING = '{"QMP":{"version":{"qemu":{"micro":0,"minor":2,"major":7},"package":""},"capabilities":[]}}\r\n'
const event = (name: string, data: object = {}) =>
  `${JSON.stringify({ timestamp: { seconds: 1, microseconds: 2 }, event: name, data })}\r\n`

interface Request {
  execute: string
  arguments?: Record<string, unknown>
  id: number
}
interface Server {
  end: ByteStream
  say(text: string): void
  /** Requests after the negotiation. */
  requests: Request[]
}

/** A QMP server's end of a memory stream: greets, negotiates, then leaves answering to the test. */
function serve(onRequest: (request: Request, server: Server) => void): [ByteStream, Server] {
  const [client, end] = memoryPair()
  let held = ''
  const server: Server = {
    end,
    requests: [],
    say: (text) => void end.write(Buffer.from(text)).catch(() => {}),
  }
  end.start({
    onData: (chunk) => {
      held += Buffer.from(chunk).toString()
      for (let at = held.indexOf('\n'); at >= 0; at = held.indexOf('\n')) {
        const request = JSON.parse(held.slice(0, at)) as Request
        held = held.slice(at + 1)
        if (request.execute === 'qmp_capabilities') server.say(`{"return":{},"id":${request.id}}\r\n`)
        else {
          server.requests.push(request)
          onRequest(request, server)
        }
      }
    },
    onClose: () => {},
  })
  server.say(GREETING)
  return [client, server]
}

const silent = () => {}
const echo = (request: Request, server: Server) =>
  server.say(`{"return":${JSON.stringify(request.arguments ?? {})},"id":${request.id}}\r\n`)

describe('QmpClient over a stream', () => {
  it('matches 100 parallel commands with shuffled answers and events in between', async () => {
    const waiting: Request[] = []
    const [stream] = serve((request, server) => {
      waiting.push(request)
      if (waiting.length < 100) return
      for (const [i, one] of waiting
        .entries()
        .toArray()
        .sort((a, b) => ((a[0] * 37) % 101) - ((b[0] * 37) % 101))) {
        server.say(`{"return":${JSON.stringify(one.arguments)},"id":${one.id}}\r\n${event('RESET', { i })}`)
      }
    })
    const client = await QmpClient.overStream(stream)
    const events = client.events()
    const answers = await Promise.all(Array.from({ length: 100 }, (_, i) => client.execute('x', { i })))
    expect(answers).toEqual(Array.from({ length: 100 }, (_, i) => ({ i })))
    const seen: QmpEvent[] = []
    for await (const one of events) if (seen.push(one) === 100) break
    expect(new Set(seen.map((one) => (one.data as { i: number }).i)).size).toBe(100)
    await client.close()
  })

  it('maps a refusal and keeps class and description', async () => {
    const [stream] = serve((request, server) =>
      server.say(`{"id":${request.id},"error":{"class":"DeviceNotFound","desc":"no such disk"}}\r\n`),
    )
    const client = await QmpClient.overStream(stream)
    await expect(client.execute('eject')).rejects.toMatchObject({
      code: 'ATP_QMP_EXECUTE',
      branch: 'remote',
      context: { command: 'eject', class: 'DeviceNotFound', desc: 'no such disk' },
    })
  })

  it('fails a silent command in time and goes on; the late answer disturbs nobody', async () => {
    let first: Request | undefined
    const [stream, server] = serve((request, peer) => {
      if (first) echo(request, peer)
      first ??= request
    })
    const client = await QmpClient.overStream(stream, { timeoutMs: 30 })
    await expect(client.execute('slow')).rejects.toMatchObject({ branch: 'timeout' })
    server.say(`{"return":"late","id":${first?.id}}\r\n`)
    expect(await client.execute('next', { n: 1 })).toEqual({ n: 1 })
    const abort = new AbortController()
    first = undefined
    const aborted = client.execute('aborted', {}, { signal: abort.signal })
    abort.abort()
    await expect(aborted).rejects.toMatchObject({ code: 'ATP_INTERRUPTED' })
  })

  it.each([
    ['nothing', (end: ByteStream) => void end, 'ATP_QMP_NO_GREETING'],
    ['an end of stream', (end: ByteStream) => end.destroy(), 'ATP_QMP_NO_GREETING'],
    ['garbage', (end: ByteStream) => void end.write(Buffer.from('QEMU 7.2 monitor\n')), 'ATP_QMP_GREETING'],
    ['an event first', (end: ByteStream) => void end.write(Buffer.from(event('STOP'))), 'ATP_QMP_GREETING'],
    ['half a greeting', (end: ByteStream) => void end.write(Buffer.from('{"QMP":{}}\n')), 'ATP_QMP_GREETING'],
  ])('answers %s instead of a greeting with a typed error', async (_, misbehave, code) => {
    const [stream, end] = memoryPair()
    end.start({ onData: silent, onClose: silent })
    misbehave(end)
    await expect(QmpClient.overStream(stream, { timeoutMs: 30 })).rejects.toMatchObject({ code })
  })

  it.each([
    ['an unknown id', '{"return":{},"id":999}\r\n', 'ATP_QMP_PROTOCOL'],
    ['garbage', '\u0000\u0001garbage\r\n', 'ATP_QMP_PROTOCOL'],
    ['a second greeting', GREETING, 'ATP_QMP_PROTOCOL'],
  ])('ends the session on %s and settles every call', async (_, text, code) => {
    const [stream, server] = serve(silent)
    const client = await QmpClient.overStream(stream)
    const call = client.execute('x')
    const wait = client.waitForEvent('NEVER')
    server.say(text)
    await expect(call).rejects.toMatchObject({ code })
    await expect(wait).rejects.toMatchObject({ code })
    expect(client.closed).toBe(true)
  })

  it('settles everything with ATP_QMP_LOST when the peer hangs up and ATP_QMP_CLOSED after close', async () => {
    const [stream, server] = serve(silent)
    const client = await QmpClient.overStream(stream)
    const call = client.execute('x')
    server.end.destroy()
    await expect(call).rejects.toMatchObject({ code: 'ATP_QMP_LOST' })
    await expect(client.execute('y')).rejects.toMatchObject({ code: 'ATP_QMP_LOST' })
    const other = await QmpClient.overStream(serve(silent)[0])
    const pending = other.execute('x')
    await other.close()
    await other.close()
    await expect(pending).rejects.toMatchObject({ code: 'ATP_QMP_CLOSED' })
    await expect(other.execute('y')).rejects.toMatchObject({ code: 'ATP_QMP_CLOSED' })
  })

  it('waits for an event by name and condition and leaves nothing behind', async () => {
    const [stream, server] = serve(silent)
    const client = await QmpClient.overStream(stream)
    const wait = client.waitForEvent('VSERPORT_CHANGE', {
      where: (one) => (one.data as { open: boolean }).open,
    })
    server.say(event('STOP') + event('VSERPORT_CHANGE', { open: false }) + event('VSERPORT_CHANGE', { open: true }))
    expect((await wait).data).toEqual({ open: true })
    await expect(client.waitForEvent('NEVER', { timeoutMs: 10 })).rejects.toMatchObject({ code: 'ATP_TIMEOUT' })
  })

  it('ends an iteration when its signal aborts and reports a reader that fell behind', async () => {
    const [stream, server] = serve(echo)
    const client = await QmpClient.overStream(stream, { eventLimit: 3 })
    const abort = new AbortController()
    const names: string[] = []
    const iterating = (async () => {
      for await (const one of client.events({ signal: abort.signal })) names.push(one.event)
    })()
    const slow = client.events({ names: ['RESET'] })
    for (const burst of [[1], [2, 3], [4]]) {
      server.say(burst.map((n) => event('RESET', { n })).join('') + event('STOP'))
      await client.execute('sync')
    }
    abort.abort()
    await iterating
    expect(names).toEqual(['RESET', 'STOP', 'RESET', 'RESET', 'STOP', 'RESET', 'STOP'])
    for (const n of [1, 2, 3]) expect((await slow.receive()).data).toEqual({ n })
    await expect(slow.receive()).rejects.toMatchObject({ code: 'ATP_PROTOCOL_OVERFLOW' })
  })

  it('spells keys, chords and input events as QEMU wants them', async () => {
    const [stream, server] = serve(echo)
    const client = await QmpClient.overStream(stream)
    await client.sendKey('a')
    await client.sendKeys(['ctrl', 'alt', 'delete'], { holdTimeMs: 150 })
    await client.inputSendEvent([{ type: 'key', data: { down: true, key: { type: 'qcode', data: 'b' } } }])
    expect(server.requests.map(({ execute, arguments: args }) => ({ execute, args }))).toEqual([
      { execute: 'send-key', args: { keys: [{ type: 'qcode', data: 'a' }] } },
      {
        execute: 'send-key',
        args: { keys: ['ctrl', 'alt', 'delete'].map((data) => ({ type: 'qcode', data })), 'hold-time': 150 },
      },
      {
        execute: 'input-send-event',
        args: { events: [{ type: 'key', data: { down: true, key: { type: 'qcode', data: 'b' } } }] },
      },
    ])
  })

  it('records both directions', async () => {
    const transcript = new TranscriptRecorder()
    const [stream] = serve(echo)
    const client = await QmpClient.overStream(stream, { transcript })
    await client.execute('x', { text: '中文' })
    expect(transcript.entries.map(({ direction, text }) => `${direction} ${text.trim()}`)).toEqual([
      `in ${GREETING.trim()}`,
      'out {"execute":"qmp_capabilities","id":1}',
      'in {"return":{},"id":1}',
      'out {"execute":"x","arguments":{"text":"中文"},"id":2}',
      'in {"return":{"text":"中文"},"id":2}',
    ])
  })
})
