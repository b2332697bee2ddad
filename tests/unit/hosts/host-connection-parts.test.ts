import { mkdirSync, mkdtempSync, renameSync, rmSync, unlinkSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { connectError, remoteError } from '../../../framework/core/index.ts'
import { retryDelayMs } from '../../../framework/hosts/back-off.ts'
import { ChannelLocks } from '../../../framework/hosts/channel-locks.ts'
import { mayHeal, unreachableError } from '../../../framework/hosts/healing.ts'
import { HostConnection } from '../../../framework/hosts/index.ts'
import { RetryPause } from '../../../framework/hosts/retry-pause.ts'
import { SocketWatch } from '../../../framework/hosts/socket-watch.ts'
import type { ChannelStream, LibvirtClient } from '../../../framework/protocols/libvirt/index.ts'
import { connectUnix } from '../../../framework/transport/index.ts'
import { ScriptedDaemon } from '../libvirt/scripted-daemon.ts'

/** A busy machine takes its time. */
const SOON = { interval: 5, timeout: 10_000 }

describe('the pause before a retry', () => {
  it('grows from 50 ms to a minute', () => {
    const delays = Array.from({ length: 13 }, (_, index) => retryDelayMs(index + 1, () => 0))
    expect(delays).toEqual([50, 100, 200, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000, 60_000])
  })

  it('is shortened by a quarter at most', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5000 }), fc.double({ min: 0, max: 1, noNaN: true }), (retry, random) => {
        const [full, some] = [retryDelayMs(retry, () => 0), retryDelayMs(retry, () => random)]
        return some <= full && some >= Math.floor(full * 0.75) && full <= 60_000
      }),
    )
  })

  it('ends in time, when it is ended, or when it is shortened', async () => {
    const pause = new RetryPause()
    expect(await pause.begin(1)).toBe(true)
    const ended = pause.begin(Infinity)
    pause.end()
    expect(await ended).toBe(false)
    const shortened = pause.begin(60_000)
    pause.shorten(70_000)
    pause.shorten(5)
    expect(await shortened).toBe(false)
    pause.end()
    pause.shorten(5)
  })
})

describe('which errors pass', () => {
  it.each([
    [connectError('ATP_TRANSPORT_LOST', 'x', { retryable: true }), true],
    [connectError('ATP_LIBVIRT_CLOSED', 'x', { cause: remoteError('ATP_LIBVIRT_AUTH', 'x'), retryable: true }), false],
    [connectError('ATP_LIBVIRT_CLOSED', 'x', { retryable: false }), true],
    [remoteError('ATP_LIBVIRT_REMOTE', 'the driver is not up yet'), true],
    [remoteError('ATP_LIBVIRT_AUTH', 'x'), false],
    [new Error('x'), false],
  ])('%s: %s', (error, passes) => {
    expect(mayHeal(error)).toBe(passes)
  })

  it('and how what cannot be had is told', () => {
    const cause = connectError('ATP_TRANSPORT_CONNECT', 'refused', { remedy: 'start it' })
    expect(unreachableError('host "h"', 'is gone', cause, { retryable: true, attempts: 3 })).toMatchObject({
      message: 'host "h" is gone: refused\n  → start it',
      context: { attempts: 3 },
      retryable: true,
    })
    expect(unreachableError('host "h"', 'is gone', undefined, { retryable: false }).message).toBe('host "h" is gone')
  })
})

describe('the watch for a socket', () => {
  let root: string
  let signs: number
  let watch: SocketWatch | undefined
  let server: Server | undefined
  beforeEach(() => {
    root = mkdtempSync('/tmp/atp-watch-')
    signs = 0
  })
  afterEach(async () => {
    watch?.close()
    if (server) await new Promise((resolve) => server?.close(resolve))
    server = undefined
    rmSync(root, { recursive: true })
  })
  const watching = (path: string) => (watch = new SocketWatch(path, () => signs++))
  const listen = (path: string) => new Promise<void>((resolve) => (server = createServer().listen(path, resolve)))
  const signed = () => expect.poll(() => signs, SOON).toBeGreaterThan(0)

  it('says when the socket appears', async () => {
    expect(watching(`${root}/a-socket`).folder).toBe(root)
    await listen(`${root}/a-socket`)
    await signed()
  })

  it('says when another socket of a daemon appears, and not for other files', async () => {
    watching(`${root}/libvirt-sock`)
    mkdirSync(`${root}/other`)
    await listen(`${root}/virtqemud-sock`)
    await signed()
    const before = signs
    mkdirSync(`${root}/another`)
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(signs).toBe(before)
  })

  it('follows folders that are made, removed and made again', async () => {
    watching(`${root}/run/libvirt/libvirt-sock`)
    expect(watch?.folder).toBe(root)
    mkdirSync(`${root}/run/libvirt`, { recursive: true })
    await expect.poll(() => watch?.folder, SOON).toBe(`${root}/run/libvirt`)
    await listen(`${root}/run/libvirt/libvirt-sock`)
    await signed()
    unlinkSync(`${root}/run/libvirt/libvirt-sock`)
    rmSync(`${root}/run`, { recursive: true })
    await expect.poll(() => watch?.folder, SOON).toBe(root)
    signs = 0
    mkdirSync(`${root}/new/libvirt`, { recursive: true })
    await new Promise((resolve) => server?.close(resolve))
    await listen(`${root}/new/libvirt/libvirt-sock`)
    renameSync(`${root}/new`, `${root}/run`)
    await signed()
    expect(watch?.folder).toBe(`${root}/run/libvirt`)
  })

  it('is silent once closed', async () => {
    watching(`${root}/a-socket`).close()
    expect(watch?.folder).toBeUndefined()
    await listen(`${root}/a-socket`)
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(signs).toBe(0)
  })

  it('lets a lost host come back before its pause is over, and ends then', async () => {
    const path = `${root}/libvirt/libvirt-sock`
    const streams: ScriptedDaemon[] = []
    const serve = async () => {
      mkdirSync(`${root}/libvirt`, { recursive: true })
      const accepting = createServer((socket) => {
        socket.on('error', () => {})
        streams.push(
          new ScriptedDaemon({
            peer: 'client',
            start: (sink) => void socket.on('data', (data) => sink.onData(data)).on('close', () => sink.onClose()),
            write: async (bytes) => void socket.write(bytes),
            pause() {},
            resume() {},
            destroy: () => void socket.destroy(),
          }),
        )
      })
      await new Promise<void>((resolve) => accepting.listen(path, resolve))
      server = accepting
    }
    await serve()
    const watchers = () => process.getActiveResourcesInfo().filter((name) => name === 'FSEvent').length
    const host = await HostConnection.open(
      { id: 'h', uri: `qemu+unix:///session?socket=${path}` },
      { openTransport: (uri, options) => connectUnix(uri.socketPath as string, options) },
    )
    const seen: (number | undefined)[] = []
    host.onStateChange(({ retryInMs }) => seen.push(retryInMs))
    for (const { stream } of streams.splice(0)) stream.destroy()
    await new Promise((resolve) => server?.close(resolve))
    rmSync(`${root}/libvirt`, { recursive: true })
    await expect.poll(() => Math.max(0, ...seen.map((ms) => ms ?? 0)), SOON).toBeGreaterThan(1400)
    const startedMs = performance.now()
    await serve()
    await expect.poll(() => host.state, SOON).toBe('connected')
    expect(performance.now() - startedMs).toBeLessThan(1400)
    expect(watchers()).toBe(0)
    await host.close()
  })
})

describe('channels that were lost with their connection', () => {
  const busy = remoteError('ATP_LIBVIRT_CHANNEL_BUSY', 'Active channel stream exists', { retryable: true })
  const opened = (ended = false) => {
    const release = Promise.withResolvers<void>()
    const stream = { released: release.promise } as ChannelStream
    return { release: release.resolve, answer: { client: { ended } as LibvirtClient, stream } }
  }

  it('are waited for until the daemon has let go of them', async () => {
    const locks = new ChannelLocks()
    const first = opened(true)
    await locks.open('vm/port', {}, async () => first.answer)
    expect(locks.size).toBe(0)
    first.release()
    await expect.poll(() => locks.size, SOON).toBe(1)
    let tries = 0
    const second = opened()
    const again = await locks.open('vm/port', {}, async ({ timeoutMs }) => {
      expect(timeoutMs).toBeGreaterThan(0)
      if (++tries < 3) throw busy
      return second.answer
    })
    expect(again).toBe(second.answer.stream)
    expect([tries, locks.size]).toEqual([3, 0])
    second.release()
    await Promise.resolve()
    expect(locks.size).toBe(0)
  })

  it('are not waited for longer than the caller does', async () => {
    const locks = new ChannelLocks()
    const first = opened(true)
    await locks.open('vm/port', {}, async () => first.answer)
    first.release()
    await expect.poll(() => locks.size, SOON).toBe(1)
    const refuse = async () => {
      throw busy
    }
    await expect(locks.open('vm/port', { timeoutMs: 120 }, refuse)).rejects.toBe(busy)
    const abort = new AbortController()
    const waiting = locks.open('vm/port', { signal: abort.signal }, refuse)
    setImmediate(() => abort.abort())
    await expect(waiting).rejects.toMatchObject({ code: 'ATP_INTERRUPTED' })
  })

  it('are told apart from those somebody else holds', async () => {
    const locks = new ChannelLocks()
    let tries = 0
    const opening = locks.open('vm/port', {}, async () => {
      tries++
      throw busy
    })
    await expect(opening).rejects.toBe(busy)
    expect(tries).toBe(1)
  })
})
