import { describe, expect, it, vi } from 'vitest'
import { Deadlines, type Expiring } from '../../../framework/protocols/libvirt/deadlines.ts'

describe('deadlines', () => {
  it('expire in order, each once, on whatever order they came in', () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    try {
      const deadlines = new Deadlines<Expiring>()
      const expired: number[] = []
      const item = (afterMs: number) => ({
        expiresAtMs: performance.now() + afterMs,
        place: 0,
        expire: () => void expired.push(afterMs),
      })
      const kept = [500, 20, 3000].map(item)
      for (const one of kept) deadlines.add(one)
      const removed = item(100)
      deadlines.add(removed)
      deadlines.delete(removed)
      const endless = item(Infinity)
      deadlines.add(endless)
      vi.advanceTimersByTime(10)
      expect(expired).toEqual([])
      vi.advanceTimersByTime(20)
      expect(expired).toEqual([20])
      vi.advanceTimersByTime(1000)
      expect(expired).toEqual([20, 500])
      expect(deadlines.size).toBe(2)
      expect(deadlines.clear()).toContain(endless)
      vi.advanceTimersByTime(10_000)
      expect(expired).toEqual([20, 500])
      expect(vi.getTimerCount()).toBe(0)
    } finally {
      vi.useRealTimers()
    }
  })
})
