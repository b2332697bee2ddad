import { expect, it } from 'vitest'
import { PortChannel, type PortEvent } from '../../../../framework/protocols/spice/channels/data.ts'
import type { ChannelStateEvent } from '../../../../framework/protocols/spice/channel.ts'
import { SpicePort, SpiceVmConnection } from '../../../../framework/protocols/spice/index.ts'

const bytesOf = (text: string) => new TextEncoder().encode(text)
const textOf = (bytes: Uint8Array) => new TextDecoder().decode(bytes)
const soon = { timeoutMs: 50 }

/** A port channel whose server is this test. */
class OwnChannel extends PortChannel {
  open = false
  readonly sent: string[] = []
  readonly events: PortEvent[] = []
  holds = 0
  #tell: (event: ChannelStateEvent) => void = () => {}

  constructor() {
    const server = { name: 'vm', open: () => Promise.reject(new Error('nowhere')) }
    super(new SpiceVmConnection('vm', { server }), 'port')
  }
  override get portName(): string {
    return 'test.port'
  }
  override get guestOpen(): boolean {
    return this.open
  }
  override async sendData(bytes: Uint8Array): Promise<void> {
    this.sent.push(textOf(bytes))
  }
  override async sendEvent(event: PortEvent): Promise<void> {
    this.events.push(event)
  }
  override hold(): () => void {
    this.holds++
    return () => this.holds--
  }
  override onStateChange(handler: (event: ChannelStateEvent) => void): () => void {
    this.#tell = handler
    return () => {}
  }
  guestOpens(open: boolean): void {
    this.open = open
    this.onEvent?.(open ? 'opened' : 'closed')
  }
  become(to: ChannelStateEvent['to']): void {
    this.#tell({ from: 'open', to, ...(to === 'lost' && { error: new Error('cut') }) })
  }
}

function newPort() {
  const channel = new OwnChannel()
  const ends: string[] = []
  return { channel, ends, port: new SpicePort(channel, async () => void ends.push('closed')) }
}

it('sends once the guest has its end open, and nothing of callers who gave up', async () => {
  const { channel, port } = newPort()
  await expect(port.send('early', soon)).rejects.toMatchObject({ code: 'ATP_TIMEOUT' })
  await expect(port.waitForGuest(soon)).rejects.toMatchObject({ code: 'ATP_TIMEOUT' })
  const sending = Promise.all([port.send('你好'), port.write(bytesOf('bytes')), port.waitForGuest()])
  expect(channel.sent).toEqual([])
  channel.guestOpens(true)
  await sending
  expect(channel.sent).toEqual(['你好', 'bytes'])
  await port.sendBreak()
  expect(channel.events).toEqual(['break'])
})

it('keeps what comes until it is read, and tells of the guest', async () => {
  const { channel, port } = newPort()
  const events: PortEvent[] = []
  port.onEvent = (event) => events.push(event)
  channel.guestOpens(true)
  channel.onData?.(bytesOf('one'))
  channel.onData?.(bytesOf('two'))
  expect([textOf(await port.receive()), textOf(await port.receive())]).toEqual(['one', 'two'])
  await expect(port.receive(soon)).rejects.toMatchObject({ code: 'ATP_TIMEOUT' })
  channel.guestOpens(false)
  expect(events).toEqual(['opened', 'closed'])
})

it('is a stream as well, with what came before', async () => {
  const { channel, port } = newPort()
  channel.onData?.(bytesOf('a'))
  let text = ''
  const closed = Promise.withResolvers<Error | undefined>()
  port.start({ onData: (bytes) => (text += textOf(bytes)), onClose: closed.resolve })
  await expect.poll(() => text).toBe('a')
  channel.onData?.(bytesOf('b'))
  expect(text).toBe('ab')
  port.pause()
  port.pause()
  expect(channel.holds).toBe(1)
  port.resume()
  expect(channel.holds).toBe(0)
  port.destroy()
  expect(await closed.promise).toBeUndefined()
})

it('is over with its channel', async () => {
  const { channel, ends, port } = newPort()
  channel.become('connecting')
  channel.become('open')
  expect([port.isOver, port.name, port.peer]).toEqual([false, 'test.port', 'vm, port channel test.port'])
  const waiting = [port.send('x'), port.receive(), port.waitForGuest()]
  channel.become('lost')
  for (const each of waiting) await expect(each).rejects.toMatchObject({ code: 'ATP_SPICE_CLOSED' })
  await expect(port.send('x')).rejects.toMatchObject({ code: 'ATP_SPICE_CLOSED', cause: { message: 'cut' } })
  expect([port.isOver, port.guestOpen, ends]).toEqual([true, false, ['closed']])
  await port.close()
})
