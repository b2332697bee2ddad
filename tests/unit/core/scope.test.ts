import { describe, expect, it } from 'vitest'
import { Scope, sleep } from '../../../framework/core/index.ts'

describe('Scope', () => {
  it('destroys in reverse order and goes on after a failing teardown', async () => {
    const log: string[] = []
    const scope = new Scope('test')
    await scope.use(
      'a',
      () => 'a',
      () => void log.push('a gone'),
    )
    await scope.use(
      'b',
      () => 'b',
      () => Promise.reject(new Error('stuck')),
    )
    await scope.use(
      'c',
      () => 'c',
      () => void log.push('c gone'),
    )
    const errors = await scope.close()
    expect(log).toEqual(['c gone', 'a gone'])
    expect(errors.map((error) => error.message)).toEqual(['teardown of b failed: stuck'])
  })

  it('destroys what was still being created when it closed', async () => {
    let destroyed = false
    const scope = new Scope('test')
    const creating = scope.use(
      'vm',
      () => sleep(30).then(() => 'vm'),
      () => void (destroyed = true),
    )
    const outcome = creating.catch((error: unknown) => error)
    await scope.close()
    expect(destroyed).toBe(true)
    expect(await outcome).toMatchObject({ code: 'ATP_SCOPE_CLOSED' })
  })

  it('does not wait for a teardown that hangs', async () => {
    const log: string[] = []
    const scope = new Scope('test', { teardownTimeoutMs: 20 })
    await scope.use(
      'first',
      () => 1,
      () => void log.push('first gone'),
    )
    await scope.use(
      'hangs',
      () => 2,
      () => new Promise<void>(() => {}),
    )
    const errors = await scope.close()
    expect(errors).toHaveLength(1)
    expect(errors[0]?.message).toContain('hangs')
    expect(log).toEqual(['first gone'])
  })

  it('destroys late what outlived its slot', async () => {
    let destroyed = false
    const scope = new Scope('test', { teardownTimeoutMs: 10 })
    const creating = scope
      .use(
        'slow',
        () => sleep(60).then(() => 'slow'),
        () => void (destroyed = true),
      )
      .catch(() => {})
    expect(await scope.close()).toHaveLength(1)
    expect(destroyed).toBe(false)
    await creating
    await sleep(5)
    expect(destroyed).toBe(true)
  })

  it('refuses new resources once closed or given up', async () => {
    const owner = new AbortController()
    const scope = new Scope('test', { signal: owner.signal })
    owner.abort(new Error('timed out'))
    await expect(
      scope.use(
        'late',
        () => 1,
        () => {},
      ),
    ).rejects.toMatchObject({ code: 'ATP_SCOPE_CLOSED' })
    expect(() => scope.defer('late', () => {})).toThrow(/was over/)
  })

  it('keeps a creation error and tears nothing down for it', async () => {
    const scope = new Scope('test')
    await expect(
      scope.use(
        'bad',
        () => Promise.reject(new Error('no')),
        () => {},
      ),
    ).rejects.toThrow('no')
    expect(await scope.close()).toEqual([])
  })
})
