import { describe, expect, it } from 'vitest'
import { afterPrelude, memoryPair, type Prelude } from '../../../framework/transport/index.ts'

const LINE: Prelude = {
  missing: 'did not say hello',
  maxBytes: 16,
  lengthIn: (received) => {
    const at = received.indexOf('\n')
    return at < 0 ? undefined : at + 1
  },
  ended: (reason) => reason ?? new Error('ended before it said hello'),
}

describe('a prelude', () => {
  it('is taken off, byte by byte, and what follows it is kept', async () => {
    const [near, far] = memoryPair()
    const ready = afterPrelude(near, LINE, { timeoutMs: 5000 })
    for (const byte of Buffer.from('hello')) await far.write(Buffer.of(byte))
    await far.write(Buffer.from('\nfollows'))
    const stream = await ready
    await far.write(Buffer.from(', and more'))
    far.destroy()
    let text = ''
    const error = await new Promise((resolve) =>
      stream.start({ onData: (chunk) => (text += Buffer.from(chunk).toString()), onClose: resolve }),
    )
    expect([text, error]).toEqual(['follows, and more', undefined])
    expect(stream.peer).toBe(near.peer)
  })

  it.each([Infinity, 1e12])('is waited for without a limit where that is %d ms', async (timeoutMs) => {
    const [near, far] = memoryPair()
    const ready = afterPrelude(near, LINE, { timeoutMs })
    // A timer that cannot hold its time is over after a millisecond.
    await new Promise((resolve) => setTimeout(resolve, 20))
    await far.write(Buffer.from('hello\n'))
    const stream = await ready
    stream.destroy()
    expect(stream.peer).toBe(near.peer)
  })

  it('can be followed by a pause before what was kept is delivered', async () => {
    const [near, far] = memoryPair()
    const ready = afterPrelude(near, LINE, { timeoutMs: 5000 })
    await far.write(Buffer.from('hello\nfollows'))
    const stream = await ready
    stream.pause()
    let text = ''
    stream.start({ onData: (chunk) => (text += Buffer.from(chunk).toString()), onClose: () => {} })
    expect(text).toBe('')
    stream.resume()
    await expect.poll(() => text).toBe('follows')
    stream.destroy()
  })

  it('that does not end is refused', async () => {
    const [near, far] = memoryPair()
    const ready = afterPrelude(near, LINE, { timeoutMs: 5000 })
    await far.write(Buffer.from('x'.repeat(17)))
    await expect(ready).rejects.toMatchObject({ code: 'ATP_TRANSPORT_PRELUDE' })
    await expect(near.write(Buffer.from('x'))).rejects.toMatchObject({ code: 'ATP_STREAM_CLOSED' })
  })

  it('that is something else is refused by whoever knows it', async () => {
    const [near, far] = memoryPair()
    const wrong = new Error('not hello')
    const lengthIn = () => {
      throw wrong
    }
    const ready = afterPrelude(near, { ...LINE, lengthIn }, { timeoutMs: 5000 })
    await far.write(Buffer.from('x'))
    await expect(ready).rejects.toBe(wrong)
  })

  it('does not come after the end', async () => {
    const [near, far] = memoryPair()
    const ready = afterPrelude(near, LINE, { timeoutMs: 5000 })
    far.destroy()
    await expect(ready).rejects.toThrow('ended before it said hello')
  })

  it('is not waited for longer than allowed', async () => {
    await expect(afterPrelude(memoryPair()[0], LINE, { timeoutMs: 20 })).rejects.toMatchObject({
      code: 'ATP_TRANSPORT_TIMEOUT',
      message: expect.stringContaining('did not say hello within 20 ms'),
    })
    await expect(afterPrelude(memoryPair()[0], LINE, { signal: AbortSignal.timeout(20) })).rejects.toMatchObject({
      code: 'ATP_INTERRUPTED',
    })
    await expect(afterPrelude(memoryPair()[0], LINE, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'ATP_INTERRUPTED',
    })
  })
})
