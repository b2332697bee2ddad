import { describe, expect, it } from 'vitest'
import type { ChannelStream, LibvirtClient, OpenChannelOptions } from '../../../framework/protocols/libvirt/index.ts'
import { rawFrame } from '../../../framework/protocols/libvirt/codec.ts'
import { PROGRAM, REMOTE, STATUS, TYPE } from '../../../framework/protocols/libvirt/protocol-numbers.ts'
import { ScriptedDaemon, VM, type Call } from './scripted-daemon.ts'

interface Opened {
  client: LibvirtClient
  daemon: ScriptedDaemon
  channel: ChannelStream
  call: Call
  /** Sends data, or with no payload the end, as the daemon. */
  data: (payload: Uint8Array, status?: number) => Buffer
}

async function open(options: OpenChannelOptions = {}, firstData?: Buffer): Promise<Opened> {
  const { client, daemon } = await ScriptedDaemon.open()
  const opening = client.openChannel(VM, 'com.example.0', options)
  const call = (await daemon.waitForCalls(1)).shift() as Call
  const data = (payload: Uint8Array, status: number = STATUS.CONTINUE) =>
    rawFrame(PROGRAM.REMOTE, REMOTE.DOMAIN_OPEN_CHANNEL, TYPE.STREAM, call.serial, status, payload)
  daemon.send(call.reply(), ...(firstData ? [data(firstData)] : []))
  return { client, daemon, channel: await opening, call, data }
}

/** Collects what arrives; `ended` resolves with the end's reason. */
function listen(channel: ChannelStream): { text(): string; ended: Promise<Error | undefined> } {
  const chunks: Uint8Array[] = []
  const ended = new Promise<Error | undefined>((resolve) =>
    channel.start({ onData: (chunk) => chunks.push(chunk), onClose: resolve }),
  )
  return { text: () => Buffer.concat(chunks).toString(), ended }
}

const turn = () => new Promise((resolve) => setTimeout(resolve, 10))

describe('a channel stream', () => {
  it('delivers what came in the packet that opened it', async () => {
    const { client, channel } = await open({}, Buffer.from('早'))
    const heard = listen(channel)
    expect(heard.text()).toBe('早')
    await client.close()
    expect(await heard.ended).toMatchObject({ code: 'ATP_LIBVIRT_CLOSED' })
  })

  it('joins small writes and keeps at most 4 KiB in 8 frames ahead of the guest', async () => {
    const { client, daemon, channel } = await open({ acknowledgement: 'explicit' })
    listen(channel)
    await Promise.all([
      channel.write(Buffer.from('a')),
      channel.write(Buffer.from('b')),
      channel.write(Buffer.from('c')),
    ])
    await turn()
    expect(daemon.streamFrames.map(({ payload }) => payload.toString())).toEqual(['abc'])
    for (let count = 0; count < 7; count++) await channel.write(Buffer.from('x'))
    let taken = false
    const waiting = channel.write(Buffer.alloc(5000)).then(() => (taken = true))
    await turn()
    expect(daemon.streamFrames).toHaveLength(8)
    expect(taken).toBe(false)
    channel.acknowledge(3)
    await turn()
    expect(daemon.streamFrames).toHaveLength(9)
    expect(daemon.streamFrames[8]?.payload).toHaveLength(4096 - 7)
    expect(taken).toBe(false)
    channel.acknowledge()
    await waiting
    await expect
      .poll(() => daemon.streamFrames.reduce((sum, { payload }) => sum + payload.length, 0), { timeout: 10_000 })
      .toBe(5010)
    await client.close()
  })

  it('takes what the guest sends as proof that it took what was written', async () => {
    const { client, daemon, channel, data } = await open()
    const heard = listen(channel)
    daemon.onStreamFrame = ({ payload }) => void (payload.length > 0 && daemon.send(data(Buffer.from('.'))))
    await channel.write(Buffer.alloc(100_000))
    await expect.poll(() => heard.text().length, { timeout: 10_000 }).toBeGreaterThanOrEqual(25)
    expect(daemon.streamFrames.every(({ payload }) => payload.length <= 4096)).toBe(true)
    await client.close()
  })

  it('gives a guest up that takes nothing: typed error, stream aborted, connection alive', async () => {
    const { client, daemon, channel } = await open({ stallTimeoutMs: 30 })
    const heard = listen(channel)
    await expect(channel.write(Buffer.alloc(1_048_576))).rejects.toMatchObject({ code: 'ATP_LIBVIRT_CHANNEL_STALLED' })
    expect(await heard.ended).toMatchObject({ code: 'ATP_LIBVIRT_CHANNEL_STALLED' })
    await expect.poll(() => daemon.streamFrames.at(-1), { timeout: 10_000 }).toMatchObject({ status: STATUS.ERROR })
    expect(daemon.streamFrames.reduce((sum, { payload }) => sum + payload.length, 0)).toBe(4096)
    daemon.onCall = (call) => daemon.send(call.reply((writer) => writer.string('host')))
    expect(await client.hostname()).toBe('host')
    await client.close()
  })

  it('buffers for a paused reader up to its bound, then aborts that stream only', async () => {
    const { client, daemon, channel, data } = await open({ maxBufferedBytes: 1000 })
    const heard = listen(channel)
    channel.pause()
    daemon.send(data(Buffer.alloc(600, 'x')))
    await turn()
    expect(heard.text()).toBe('')
    channel.resume()
    expect(heard.text()).toHaveLength(600)
    channel.pause()
    daemon.send(data(Buffer.alloc(600)), data(Buffer.alloc(600)))
    await turn()
    channel.resume()
    expect(await heard.ended).toMatchObject({ code: 'ATP_LIBVIRT_CHANNEL_OVERFLOW' })
    daemon.send(data(Buffer.alloc(10)))
    daemon.onCall = (call) => daemon.send(call.reply((writer) => writer.string('host')))
    expect(await client.hostname()).toBe('host')
    await client.close()
  })

  it('ends when the guest’s side does, after everything was delivered, and says so to the daemon', async () => {
    const { client, daemon, channel, data } = await open()
    daemon.send(data(Buffer.from('last')), data(new Uint8Array(0)))
    await turn()
    const heard = listen(channel)
    expect(await heard.ended).toBeUndefined()
    expect(heard.text()).toBe('last')
    expect(daemon.streamFrames.map(({ status }) => status)).toEqual([STATUS.OK])
    await expect(channel.write(Buffer.from('x'))).rejects.toMatchObject({ code: 'ATP_STREAM_CLOSED' })
    daemon.send(data(new Uint8Array(0), STATUS.OK))
    await channel.released
    expect(client.stats().streams).toBe(0)
    await client.close()
  })

  it('tells a paused reader of the end when that destroys it afterwards', async () => {
    const { client, daemon, channel, data } = await open()
    const heard = listen(channel)
    channel.pause()
    daemon.send(data(Buffer.from('unread')), data(new Uint8Array(0)))
    await turn()
    channel.destroy()
    expect(await heard.ended).toBeUndefined()
    expect(heard.text()).toBe('')
    await client.close()
  })

  it.each(['reply', 'stream'])('ends when the daemon refuses to go on by %s', async (way) => {
    const { client, daemon, channel, call, data } = await open()
    const heard = listen(channel)
    const refusal = call.refuse(9, 'write failed')
    if (way === 'stream') refusal.set(data(new Uint8Array(0)).subarray(16, 20), 16)
    daemon.send(refusal)
    expect(await heard.ended).toMatchObject({ code: 'ATP_LIBVIRT_REMOTE', context: { libvirtCode: 9 } })
    expect(client.stats().streams).toBe(0)
    await client.close()
  })

  it('that somebody else holds is reported as busy', async () => {
    const { client, daemon } = await ScriptedDaemon.open()
    const opening = client.openChannel(VM, 'com.example.0')
    daemon.send((await daemon.waitForCalls(1))[0]!.refuse(9))
    await expect(opening).rejects.toMatchObject({ code: 'ATP_LIBVIRT_CHANNEL_BUSY', retryable: true })
    expect(client.stats().streams).toBe(0)
    await client.close()
  })

  it('is reopened only after the daemon let go of it', async () => {
    const { client, daemon, channel, data } = await open()
    channel.destroy()
    const again = client.openChannel(VM, 'com.example.0')
    await turn()
    expect(daemon.calls).toHaveLength(0)
    daemon.send(data(new Uint8Array(0), STATUS.OK))
    daemon.send((await daemon.waitForCalls(1))[0]!.reply())
    await again
    channel.destroy()
    const impatient = client.openChannel(VM, 'com.example.0', { timeoutMs: 20 })
    await expect(impatient).rejects.toMatchObject({ code: 'ATP_LIBVIRT_TIMEOUT' })
    await client.close()
  })

  it('is ended when its opener gave up before the daemon answered', async () => {
    const { client, daemon } = await ScriptedDaemon.open()
    const opening = client.openChannel(VM, 'com.example.0', { timeoutMs: 20 })
    const [call] = await daemon.waitForCalls(1)
    await expect(opening).rejects.toMatchObject({ code: 'ATP_LIBVIRT_TIMEOUT' })
    daemon.send(call!.reply())
    await expect
      .poll(() => daemon.streamFrames, { timeout: 10_000 })
      .toMatchObject([{ status: STATUS.OK, payload: Buffer.alloc(0) }])
    await client.close()
  })
})
