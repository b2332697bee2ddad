import { readdirSync, readlinkSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { ByteStream } from '../../../framework/wire/index.ts'

/** The peer's end of a stream under test. It takes nothing until it is told to. */
export interface FarEnd {
  /** Resolves when the bytes are on their way: not while the near end takes nothing and what lies between is full. */
  send(bytes: Uint8Array): Promise<void>
  /** From now on takes what comes. */
  take(): void
  /** What it took. */
  received(): Buffer
  /** Ends the connection after everything sent. */
  end(): void
  /** Lets go of what it holds. */
  destroy(): void
}

export interface StreamPair {
  near: ByteStream
  far: FarEnd
}

const MUCH_BYTES = 4 << 20
/** Enough to fill whatever lies between the ends: Linux may keep several megabytes of a TCP connection. */
const FULL_BYTES = 24 << 20

/** What every byte stream must do, whatever carries it. */
export function describeByteStream(name: string, connect: () => Promise<StreamPair>): void {
  describe(`a byte stream over ${name}`, () => {
    let before: string[]
    let opened: StreamPair | undefined
    const open = async () => (opened = await connect())
    beforeEach(() => {
      before = descriptors()
    })
    // The near end has gone by itself; only what stands for the peer is cleared away.
    afterEach(async () => {
      opened?.far.destroy()
      await expect.poll(descriptors, { timeout: 10_000 }).toEqual(before)
    })

    it('carries bytes in order, both ways, also those sent before anybody listened', async () => {
      const { near, far } = await open()
      await far.send(Buffer.from('先来'))
      await near.write(Buffer.from('hello'))
      const collected = collect(near)
      far.take()
      await far.send(Buffer.from('后到'))
      await expect.poll(() => collected.text(), { timeout: 10_000 }).toBe('先来后到')
      await expect.poll(() => far.received().toString(), { timeout: 10_000 }).toBe('hello')
      near.destroy()
      expect(await collected.ended).toBeUndefined()
    })

    it('carries bytes that come one by one, and many at once', async () => {
      const { near, far } = await open()
      const collected = collect(near)
      far.take()
      const text = 'Zeichen für Zeichen, 一个一个来。'.repeat(5)
      for (const byte of Buffer.from(text)) {
        await far.send(Buffer.of(byte))
        await near.write(Buffer.of(byte))
      }
      await expect.poll(() => collected.text(), { timeout: 10_000 }).toBe(text)
      await expect.poll(() => far.received().toString(), { timeout: 10_000 }).toBe(text)
      const much = pattern(MUCH_BYTES)
      const sent = far.send(much)
      await expect.poll(() => collected.bytes().length, { timeout: 10_000 }).toBe(MUCH_BYTES + Buffer.byteLength(text))
      await sent
      expect(collected.bytes().subarray(-MUCH_BYTES).equals(much)).toBe(true)
      near.destroy()
      await collected.ended
    })

    it('delivers everything before the end, then tells it once, without an error', async () => {
      const { near, far } = await open()
      const collected = collect(near)
      const all = pattern(300_000)
      await far.send(all)
      far.end()
      expect(await collected.ended).toBeUndefined()
      expect(collected.bytes().equals(all)).toBe(true)
      near.destroy(new Error('too late'))
      expect(collected.ends).toBe(1)
    })

    it('delivers nothing while paused, from within the delivery too', async () => {
      const { near, far } = await open()
      let size = 0
      let paused = false
      const all = pattern(500_000)
      const chunks: Uint8Array[] = []
      const complete = new Promise<void>((resolve) => {
        near.start({
          onData: (chunk) => {
            expect(paused).toBe(false)
            chunks.push(chunk)
            size += chunk.length
            paused = true
            near.pause()
            setTimeout(() => {
              paused = false
              near.resume()
              if (size === all.length) resolve()
            }, 1)
          },
          onClose: () => {},
        })
      })
      await far.send(all)
      await complete
      expect(Buffer.concat(chunks).equals(all)).toBe(true)
      near.destroy()
    })

    it('slows the peer down while it is paused', async () => {
      const { near, far } = await open()
      const collected = collect(near)
      near.pause()
      let sent = false
      const sending = far.send(Buffer.alloc(FULL_BYTES)).then(() => (sent = true))
      await new Promise((resolve) => setTimeout(resolve, 50))
      expect(sent).toBe(false)
      expect(collected.bytes().length).toBe(0)
      near.resume()
      await sending
      await expect.poll(() => collected.bytes().length, { timeout: 10_000 }).toBe(FULL_BYTES)
      near.destroy()
    })

    it('slows a writer down to the peer', async () => {
      const { near, far } = await open()
      collect(near)
      let taken = 0
      const part = Buffer.alloc(Math.ceil(FULL_BYTES / 40), 'x')
      const writes = Array.from({ length: 40 }, () => near.write(part).then(() => taken++))
      await new Promise((resolve) => setTimeout(resolve, 30))
      expect(taken).toBeLessThan(40)
      far.take()
      await Promise.all(writes)
      await expect.poll(() => far.received().length, { timeout: 10_000 }).toBe(40 * part.length)
      near.destroy()
    })

    it('rejects what is being written when it ends', async () => {
      const { near } = await open()
      const collected = collect(near)
      const part = Buffer.alloc(Math.ceil(FULL_BYTES / 40))
      const writes = Array.from({ length: 40 }, () => near.write(part))
      const settled = Promise.allSettled(writes)
      near.destroy()
      const rejected = (await settled).filter((result) => result.status === 'rejected')
      expect(rejected.length).toBeGreaterThan(0)
      expect(rejected[0]?.reason).toMatchObject({ code: 'ATP_STREAM_CLOSED' })
      await collected.ended
    })

    it('tells its own reason, once, and refuses to write afterwards', async () => {
      const { near } = await open()
      const collected = collect(near)
      const reason = new Error('enough')
      near.destroy(reason)
      near.destroy(new Error('again'))
      expect(await collected.ended).toBe(reason)
      await expect(near.write(Buffer.from('x'))).rejects.toMatchObject({ code: 'ATP_STREAM_CLOSED' })
      near.destroy()
      expect(collected.ends).toBe(1)
    })

    it('can be destroyed before anybody listens, and tells who listens then', async () => {
      const { near, far } = await open()
      await far.send(Buffer.from('never read'))
      const reason = new Error('not wanted')
      near.destroy(reason)
      const collected = collect(near)
      expect(await collected.ended).toBe(reason)
    })

    it('can be destroyed while it delivers: nothing comes after that', async () => {
      const { near, far } = await open()
      let chunks = 0
      const ended = new Promise<Error | undefined>((resolve) => {
        near.start({
          onData: () => {
            chunks++
            near.destroy()
          },
          onClose: resolve,
        })
      })
      await far.send(Buffer.alloc(10))
      await far.send(Buffer.alloc(10)).catch(() => {})
      expect(await ended).toBeUndefined()
      expect(chunks).toBe(1)
    })

    it('tells its end although it came, and was destroyed, while it was paused', async () => {
      const { near, far } = await open()
      const collected = collect(near)
      near.pause()
      far.end()
      await new Promise((resolve) => setTimeout(resolve, 50))
      near.destroy()
      near.destroy()
      await collected.ended
      expect(collected.ends).toBe(1)
    })

    it('can be destroyed while it is paused', async () => {
      const { near, far } = await open()
      const collected = collect(near)
      near.pause()
      await far.send(Buffer.from('never delivered'))
      near.destroy()
      expect(await collected.ended).toBeUndefined()
      expect(collected.bytes().length).toBe(0)
    })
  })
}

/** Collects until the end. */
function collect(stream: ByteStream) {
  const chunks: Uint8Array[] = []
  const result = {
    ends: 0,
    bytes: () => Buffer.concat(chunks),
    text: () => Buffer.concat(chunks).toString(),
    ended: undefined as unknown as Promise<Error | undefined>,
  }
  result.ended = new Promise((resolve) =>
    stream.start({
      onData: (chunk) => chunks.push(chunk),
      onClose: (error) => {
        result.ends++
        resolve(error)
      },
    }),
  )
  return result
}

/** Bytes in which an exchange or a gap shows. */
function pattern(sizeBytes: number): Buffer {
  const bytes = Buffer.alloc(sizeBytes)
  for (let at = 0; at + 4 <= sizeBytes; at += 4) bytes.writeUInt32BE(at, at)
  return bytes
}

/** The sockets and pipes this process holds. */
export function descriptors(): string[] {
  return readdirSync('/proc/self/fd')
    .map((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`)
      } catch {
        // The descriptor of this very listing.
        return ''
      }
    })
    .filter((target) => /^(?:socket|pipe):/.test(target))
    .toSorted()
}
