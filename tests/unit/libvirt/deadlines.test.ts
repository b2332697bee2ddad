import { describe, expect, it, vi } from 'vitest'
import { Deadlines } from '../../../framework/protocols/libvirt/deadlines.ts'

describe('deadlines', () => {
  it('expire in order, each once, on whatever order they came in', () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    try {
      const deadlines = new Deadlines()
      const expired: number[] = []
      const item = (afterMs: number) => ({
        expiresAtMs: performance.now() + afterMs,
        expire: () => void expired.push(afterMs),
      })
      const kept = [500, 20, 3000].map(item)
      for (const one of kept) deadlines.add(one)
      const removed = item(100)
      deadlines.add(removed)
      deadlines.delete(removed)
      deadlines.add(item(Infinity))
      vi.advanceTimersByTime(10)
      expect(expired).toEqual([])
      vi.advanceTimersByTime(20)
      expect(expired).toEqual([20])
      vi.advanceTimersByTime(1000)
      expect(expired).toEqual([20, 500])
      deadlines.clear()
      vi.advanceTimersByTime(10_000)
      expect(expired).toEqual([20, 500])
      expect(vi.getTimerCount()).toBe(0)
    } finally {
      vi.useRealTimers()
    }
  })
})
