import { describe, expect, it } from 'vitest'
import { MessageQueue } from '../../../framework/protocols/message-queue.ts'

const make = (limit = 10) => new MessageQueue<string>({ what: 'messages', limit, sizeOf: (text) => text.length })

describe('MessageQueue', () => {
  it('delivers in order, to readers that came before and after', async () => {
    const queue = make()
    const early = [queue.next(), queue.next()]
    for (const text of ['a', 'b', 'c', 'd']) queue.push(text)
    expect(await Promise.all([...early, queue.next(), queue.next()])).toEqual(['a', 'b', 'c', 'd'])
    expect(queue.size).toBe(0)
  })

  it('reports what it had to drop, after what was kept, and goes on', async () => {
    const queue = make(4)
    for (const text of ['ab', 'cd', 'e', 'f']) queue.push(text)
    expect(await queue.next()).toBe('ab')
    queue.push('late')
    expect(await queue.next()).toBe('cd')
    await expect(queue.next()).rejects.toMatchObject({ code: 'ATP_PROTOCOL_OVERFLOW', context: { dropped: 3 } })
    queue.push('new')
    expect(await queue.next()).toBe('new')
  })

  it('never gives a message to a reader that gave up', async () => {
    const queue = make()
    await expect(queue.next({ timeoutMs: 5 })).rejects.toMatchObject({ code: 'ATP_TIMEOUT' })
    const abort = new AbortController()
    const reader = queue.next({ signal: abort.signal })
    abort.abort()
    await expect(reader).rejects.toMatchObject({ code: 'ATP_INTERRUPTED' })
    queue.push('kept')
    expect(await queue.next()).toBe('kept')
  })

  it('lets what is there be read after its end, then rejects, waiting readers at once', async () => {
    const queue = make()
    queue.push('last')
    queue.end(new Error('over'))
    queue.push('ignored')
    expect(await queue.next()).toBe('last')
    await expect(queue.next()).rejects.toThrow('over')
    const other = make()
    const waiting = other.next()
    other.end(new Error('gone'))
    await expect(waiting).rejects.toThrow('gone')
  })
})
