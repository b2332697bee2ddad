import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { withLock } from '../../../lab/lock.ts'

const unique = (name: string) => `${name} ${process.pid} ${Math.random()}`

describe('lock', () => {
  it('lets one at a time in, and everybody in the end', async () => {
    const name = unique('one at a time')
    let inside = 0
    let most = 0
    const done = await Promise.all(
      Array.from({ length: 12 }, (_, index) =>
        withLock(name, { timeoutMs: 10_000 }, async () => {
          most = Math.max(most, ++inside)
          await new Promise(setImmediate)
          inside -= 1
          return index
        }),
      ),
    )
    expect(most).toBe(1)
    expect(done).toEqual(Array.from({ length: 12 }, (_, index) => index))
  })

  it('is free again after the work failed', async () => {
    const name = unique('failing')
    await expect(withLock(name, {}, () => Promise.reject(new Error('no')))).rejects.toThrow('no')
    expect(await withLock(name, { timeoutMs: 1000 }, async () => 'in')).toBe('in')
  })

  it('tells the waiter that it waits, and ends waiting on time and on abort', async () => {
    const name = unique('held')
    const { promise: held, resolve: letGo } = Promise.withResolvers<void>()
    const holder = withLock(name, {}, () => held)
    let waits = 0
    const onWait = () => (waits += 1)
    const timed = withLock(name, { timeoutMs: 20, onWait }, async () => 'in')
    await expect(timed).rejects.toMatchObject({ code: 'ATP_TIMEOUT' })
    const stop = new AbortController()
    const aborted = withLock(name, { signal: stop.signal, onWait }, async () => 'in')
    stop.abort()
    await expect(aborted).rejects.toMatchObject({ code: 'ATP_INTERRUPTED' })
    expect(waits).toBeGreaterThan(0)
    letGo()
    await holder
    expect(await withLock(name, { timeoutMs: 1000 }, async () => 'in')).toBe('in')
  })

  it('is freed by the death of its holder', async () => {
    const name = unique('dying')
    const module = JSON.stringify(resolve(import.meta.dirname, '../../../lab/lock.ts'))
    const program = `import { withLock } from ${module}
      await withLock(${JSON.stringify(name)}, {}, () => { console.log('held'); return new Promise(() => setInterval(() => {}, 1000)) })`
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await once(child.stdout, 'data')
    const { promise: waiting, resolve: onWait } = Promise.withResolvers<void>()
    const entered = withLock(name, { timeoutMs: 10_000, onWait }, async () => 'in')
    await waiting
    child.kill('SIGKILL')
    expect(await entered).toBe('in')
  })
})
