import fc from 'fast-check'
import { describe, expect, it, onTestFinished } from 'vitest'
import { isAtpError, Secret } from '../../../../framework/core/index.ts'
import { SpiceVmConnection, type SpiceConnectionOptions } from '../../../../framework/protocols/spice/index.ts'
import { SpiceWriter } from '../../../../framework/protocols/spice/wire/writer.ts'
import { greetAsMain, StandIn, type StandInChannel, type StandInOptions } from './stand-in.ts'

const u32 = (...numbers: number[]) => {
  const writer = new SpiceWriter()
  for (const number of numbers) writer.u32(number)
  return writer.finish()
}
const message = (type: number, body: Uint8Array) => ({ type, body: [...body] })
const MUTATIONS = Number(process.env['ATP_MUTATIONS'] ?? 2000)

/** A session with a stand-in; its main channel is open, and what the client said so far is read. */
async function session(
  how: StandInOptions = {},
  options: Partial<SpiceConnectionOptions> = {},
  channels?: [number, number][],
) {
  const standIn = new StandIn(how)
  const connection = new SpiceVmConnection('vm', {
    server: { ...standIn.server, credentials: { password: new Secret('t', 'ticket 密码') } },
    reconnect: false,
    ...options,
  })
  onTestFinished(() => connection.disconnectAll())
  const opening = connection.connectMainChannel()
  // A link that is refused rejects first.
  const main = await Promise.race([standIn.channel(), opening.then(() => new Promise<never>(() => {}))])
  greetAsMain(main, channels)
  await opening
  expect(await main.next()).toEqual({ type: 104, body: [] })
  return { standIn, connection, main }
}

async function withInputs(how: StandInOptions = {}, options: Partial<SpiceConnectionOptions> = {}) {
  const made = await session(how, options)
  const opening = made.connection.openChannel('inputs')
  const peer = await made.standIn.channel()
  peer.send(101, Uint8Array.of(2, 0))
  return { ...made, inputs: await opening, peer }
}

const lossOf = (connection: SpiceVmConnection) =>
  new Promise((resolve) => connection.main.onStateChange(({ to, error }) => to === 'lost' && resolve(error)))

describe('a link', () => {
  it('carries the ticket, and the session’s number to every channel but the first', async () => {
    const { main, peer } = await withInputs()
    expect(main).toMatchObject({ type: 1, connectionId: 0, ticket: 'ticket 密码\0' })
    expect(peer).toMatchObject({ type: 3, connectionId: 7, ticket: 'ticket 密码\0' })
  })

  it('works with servers that know neither the choice nor the short header', async () => {
    const { inputs, peer, main } = await withInputs({ mini: false, selects: false })
    await inputs.keyDown(0x1e)
    expect(await peer.next()).toEqual(message(101, u32(0x1e)))
    main.send(4, new SpiceWriter().u32(9).u64(5n).finish())
    expect(await main.next()).toEqual(message(3, new SpiceWriter().u32(9).u64(5n).finish()))
  })

  it.each([
    [{ linkError: 5 }, 'ATP_SPICE_NEED_SECURED'],
    [{ linkError: 6 }, 'ATP_SPICE_NEED_UNSECURED'],
    [{ linkError: 9 }, 'ATP_SPICE_LINK'],
    [{ result: 7 }, 'ATP_SPICE_AUTH'],
    [{ result: 8 }, 'ATP_SPICE_LINK'],
  ])('that is refused (%o) is %s', async (how, code) => {
    await expect(session(how)).rejects.toMatchObject({ code })
  })
})

describe('every channel', () => {
  it('acknowledges as many messages as the window says', async () => {
    const { main } = await session()
    main.send(3, u32(77, 3))
    expect(await main.next()).toEqual(message(1, u32(77)))
    for (let count = 0; count < 7; count++) main.send(106, u32(count))
    expect(await main.next()).toEqual({ type: 2, body: [] })
    expect(await main.next()).toEqual({ type: 2, body: [] })
    main.send(4, new SpiceWriter().u32(1).u64(2n).bytes(new Uint8Array(300_000)).finish())
    expect(await main.next()).toEqual(message(3, new SpiceWriter().u32(1).u64(2n).finish()))
    main.send(106, u32(0))
    expect(await main.next()).toEqual({ type: 2, body: [] })
  })

  it('hands notices on', async () => {
    const notices: string[] = []
    const { main } = await session({}, { onNotify: ({ type }, text) => notices.push(`${type}: ${text}`) })
    const text = new TextEncoder().encode('保持连接')
    main.send(7, new SpiceWriter().u64(0n).u32(1).u32(1).u32(0).u32(text.length).bytes(text).u8(0).finish())
    await expect.poll(() => notices).toEqual(['main: 保持连接'])
  })

  it('takes messages within messages', async () => {
    const { connection, main } = await session({ mini: false })
    // Offset 8: a list of one, at offset 14: mouse mode (105) with four bytes.
    const body = new SpiceWriter().u32(1).u32(0).u16(1).u32(14).u16(105).u32(4).u16(3).u16(2).finish()
    main.send(106, body, 8)
    await expect.poll(() => connection.mouseMode).toBe('client')
    main.send(8, new SpiceWriter().u16(1).u32(6).u16(105).u32(4).u16(3).u16(1).finish())
    await expect.poll(() => connection.mouseMode).toBe('server')
  })

  it('waits until another one has processed what the server names', async () => {
    const { connection, main, inputs, peer } = await withInputs()
    const seen: number[] = []
    inputs.onModifiers = (modifiers) => seen.push(modifiers.size)
    const awaited = connection.main.serialIn + 2n
    peer.send(5, new SpiceWriter().u8(1).u8(1).u8(0).u64(awaited).finish())
    peer.send(102, Uint8Array.of(7, 0))
    main.send(106, u32(0))
    await expect.poll(() => connection.main.serialIn).toBe(awaited - 1n)
    expect(seen).toEqual([])
    main.send(106, u32(0))
    await expect.poll(() => seen).toEqual([3])
  })

  it('ends with the server’s reason', async () => {
    const { connection, main } = await session()
    const lost = lossOf(connection)
    main.send(6, new SpiceWriter().u64(0n).u32(4).finish())
    expect(await lost).toMatchObject({ code: 'ATP_SPICE_DISCONNECTED', context: { reason: 4 } })
  })

  it.each([1, 2, 101, 111, 116])('ends where it cannot follow: message %i of a migration', async (type) => {
    const { connection, main } = await session()
    const lost = lossOf(connection)
    main.send(type, new Uint8Array(64))
    expect(await lost).toMatchObject({ code: 'ATP_SPICE_UNSUPPORTED' })
  })

  it('ends at a message that is longer than any may be, before it comes', async () => {
    const { connection, main } = await session()
    const lost = lossOf(connection)
    main.raw(new SpiceWriter().u16(109).u32(0x7fff_ffff).finish())
    expect(await lost).toMatchObject({ code: 'ATP_SPICE_PROTOCOL' })
  })

  it('keeps messages nobody takes for who asks, and no more than it may', async () => {
    const { connection, main } = await session()
    main.send(120, Uint8Array.of(1))
    for (let count = 0; count < 5; count++) main.send(121, new Uint8Array(1_000_000))
    main.send(106, u32(0))
    await expect.poll(() => connection.main.statistics.messagesIn).toBe(9)
    expect(await connection.main.receive()).toEqual({ type: 120, body: Uint8Array.of(1) })
    for (let count = 0; count < 4; count++) expect((await connection.main.receive()).type).toBe(121)
    await expect(connection.main.receive()).rejects.toMatchObject({ code: 'ATP_PROTOCOL_OVERFLOW' })
  })
})

describe('the agent', () => {
  it('is sent no more than the server has room for', async () => {
    const { connection, main } = await session()
    const sending = connection.main.sendAgentData(new Uint8Array(25_000), { timeoutMs: 5000 })
    const sizes: number[] = []
    for (let count = 0; count < 10; count++) sizes.push((await main.next()).body.length)
    expect(sizes).toEqual(Array(10).fill(2048))
    main.send(110, u32(1))
    expect((await main.next()).body).toHaveLength(2048)
    main.send(110, u32(5))
    await sending
    for (const size of [2048, 25_000 - 12 * 2048]) expect((await main.next()).body).toHaveLength(size)
    const late = connection.main.sendAgentData(new Uint8Array(10_000), { timeoutMs: 50 })
    await expect(late).rejects.toMatchObject({ code: 'ATP_TIMEOUT' })
  })

  it('gets a token for each message it sent, and its coming and going is told', async () => {
    const { connection, main } = await session()
    const seen: unknown[] = []
    connection.main.onAgent = (connected) => seen.push(connected)
    connection.main.onAgentData = (chunk) => seen.push(chunk.length)
    main.send(115, u32(3))
    main.send(109, new Uint8Array(5))
    main.send(108, u32(0))
    expect(await main.next()).toEqual(message(108, u32(1)))
    await expect.poll(() => seen).toEqual([true, 5, false])
  })
})

describe('keys', () => {
  it('leave in the order in which they were asked for, at least a millisecond apart', async () => {
    const { inputs, peer } = await withInputs()
    const sentAtMs: number[] = []
    const onSend = () => sentAtMs.push(performance.now())
    const codes = Array.from({ length: 20 }, (_, at) => 0x10 + at)
    await Promise.all(codes.map((code) => inputs.keyDown(code, { onSend })))
    for (const code of codes) expect(await peer.next()).toEqual(message(101, u32(code)))
    for (let at = 1; at < sentAtMs.length; at++) {
      expect((sentAtMs[at] as number) - (sentAtMs[at - 1] as number)).toBeGreaterThanOrEqual(1)
    }
  })

  it('given up do not leave, and do not hold up others', async () => {
    const { inputs, peer } = await withInputs()
    const stop = new AbortController()
    const calls = [inputs.keyDown(1), inputs.keyDown(2, { signal: stop.signal }), inputs.keyDown(3)]
    stop.abort()
    await expect(calls[1]).rejects.toMatchObject({ code: 'ATP_INTERRUPTED' })
    await Promise.all([calls[0], calls[2]])
    expect((await peer.next()).body[0]).toBe(1)
    expect((await peer.next()).body[0]).toBe(3)
  })
})

describe('buttons', () => {
  it('are told as they are when each message leaves', async () => {
    const { inputs, peer } = await withInputs()
    const calls = [
      inputs.mousePress('left'),
      inputs.mouseMotion(1, 2),
      inputs.mousePress('right'),
      inputs.mouseRelease('left'),
      inputs.wheel(1),
      inputs.releaseAll(),
    ]
    await Promise.all(calls)
    const button = (type: number, number: number, state: number) =>
      message(type, new SpiceWriter().u8(number).u16(state).finish())
    expect(await peer.next()).toEqual(button(113, 1, 1))
    expect(await peer.next()).toEqual(message(111, new SpiceWriter().i32(1).i32(2).u16(1).finish()))
    expect(await peer.next()).toEqual(button(113, 3, 5))
    expect(await peer.next()).toEqual(button(114, 1, 4))
    expect(await peer.next()).toEqual(button(113, 5, 4))
    // What was down when everything was to be let go of.
    expect(await peer.next()).toEqual(button(114, 1, 4))
    expect(await peer.next()).toEqual(button(114, 5, 4))
  })
})

describe('motion', () => {
  it('waits for the server after eight', async () => {
    const { inputs, peer } = await withInputs()
    const all = Promise.all(Array.from({ length: 10 }, (_, at) => inputs.mouseMotion(at, -1)))
    for (let at = 0; at < 8; at++) {
      expect(await peer.next()).toEqual(message(111, new SpiceWriter().i32(at).i32(-1).u16(0).finish()))
    }
    peer.send(111)
    expect((await peer.next()).body[0]).toBe(8)
    expect((await peer.next()).body[0]).toBe(9)
    await all
  })

  it('that nobody acknowledges is an error in time', async () => {
    const { inputs } = await withInputs()
    await Promise.all(Array.from({ length: 8 }, () => inputs.mouseMotion(1, 1)))
    await expect(inputs.mouseMotion(1, 1, { timeoutMs: 50 })).rejects.toMatchObject({ code: 'ATP_TIMEOUT' })
  })
})

describe('what servers should not send', () => {
  const CHANNELS: [type: number, name: string, messages: number[]][] = [
    [1, 'main', [1, 2, 3, 4, 5, 6, 7, 8, 103, 104, 105, 106, 107, 108, 109, 110, 113, 114, 115]],
    [3, 'inputs', [101, 102, 111]],
    [5, 'playback', [101, 102, 103, 104, 105, 106, 107]],
    [6, 'record', [101, 102]],
    [9, 'usbredir', [101, 102]],
    [10, 'port', [101, 201, 202]],
  ]
  const body = fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    // Plausible fields: small numbers, and the borders of what fits.
    fc
      .array(fc.oneof(fc.nat(12), fc.constantFrom(0xffff_ffff, 0x8000_0000, 0x7fff_ffff)), { maxLength: 10 })
      .map((numbers) => u32(...numbers)),
  )

  it.each(CHANNELS)('on a channel of type %i (%s) ends that channel with a typed error', async (type, _, types) => {
    const { connection, standIn } = await session({}, {}, [[type, 0]])
    const sent = fc.array(fc.tuple(fc.constantFrom(...types), body), { minLength: 1, maxLength: 8 })
    const attempt = async (messages: [number, Uint8Array][]) => {
      const made = type === 1 ? await session() : undefined
      const name = made ? 'main' : (CHANNELS.find(([number]) => number === type)?.[1] as 'inputs')
      const opening = made ? Promise.resolve(made.connection.main) : connection.openChannel(name)
      opening.catch(() => {})
      const peer: StandInChannel = made ? made.main : await standIn.channel()
      if (type === 3) peer.send(101, Uint8Array.of(0, 0))
      if (type === 10) peer.send(201, u32(2, 9, 0))
      for (const [kind, bytes] of messages) peer.send(kind, bytes)
      peer.close()
      const channel = await opening.catch(() => undefined)
      if (channel) await expect.poll(() => channel.state, { interval: 1 }).not.toBe('open')
      const error = channel?.error
      expect(error === undefined || isAtpError(error)).toBe(true)
      if (made) await made.connection.disconnectAll()
      else await connection.closeChannel(name)
    }
    // Each run links a channel anew, with its RSA; the messages of a run are eight tries at once.
    const numRuns = Math.ceil(MUTATIONS / 100)
    await fc.assert(fc.asyncProperty(sent, attempt), { numRuns })
  })
})
