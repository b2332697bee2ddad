import { describe, expect, it } from 'vitest'
import { LazySession } from '../../../framework/desktop/lazy-session.ts'

interface Session {
  id: number
  alive: boolean
}

function make(opening: (id: number) => Promise<void> = async () => {}) {
  const closed: [number, unknown][] = []
  let opened = 0
  const lazy = new LazySession<Session>({
    what: 'a session',
    open: async () => {
      const id = ++opened
      await opening(id)
      return { id, alive: true }
    },
    close: (session, reason) => void closed.push([session.id, reason]),
    alive: (session) => session.alive,
  })
  return { lazy, closed, opened: () => opened }
}

describe('LazySession', () => {
  it('opens once for all who ask, and again after it died', async () => {
    const { lazy, closed, opened } = make()
    const [a, b] = await Promise.all([lazy.get(), lazy.get()])
    expect(a).toBe(b)
    expect(opened()).toBe(1)
    a.alive = false
    const [c, d] = await Promise.all([lazy.get(), lazy.get()])
    expect(c).toBe(d)
    expect(c.id).toBe(2)
    expect(closed).toEqual([[1, undefined]])
  })

  it('tries again after a failed opening', async () => {
    const { lazy } = make(async (id) => {
      if (id === 1) throw new Error('no')
    })
    await expect(lazy.get()).rejects.toThrow('no')
    expect((await lazy.get()).id).toBe(2)
  })

  it('ends the waiting of one who gives up, not the opening', async () => {
    const { promise, resolve } = Promise.withResolvers<void>()
    const { lazy, opened } = make(() => promise)
    const patient = lazy.get()
    await expect(lazy.get({ timeoutMs: 5 })).rejects.toMatchObject({ code: 'ATP_TIMEOUT' })
    resolve()
    expect((await patient).id).toBe(1)
    expect(opened()).toBe(1)
  })

  it('closes what was being opened when it is dropped, unless only the open one is meant', async () => {
    const { promise, resolve } = Promise.withResolvers<void>()
    const { lazy, closed } = make(() => promise)
    const asked = lazy.get()
    await lazy.dropOpen('reset')
    expect(closed).toEqual([])
    const dropped = lazy.drop('closing')
    resolve()
    await dropped
    expect(closed).toEqual([[1, 'closing']])
    await asked
    expect((await lazy.get()).id).toBe(2)
    await lazy.dropOpen('reset')
    expect(closed).toHaveLength(2)
  })
})
