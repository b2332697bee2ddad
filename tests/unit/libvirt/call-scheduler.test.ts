import { describe, expect, it, vi } from 'vitest'
import {
  CallScheduler,
  type ScheduledCall,
  type SchedulerLimits,
} from '../../../framework/protocols/libvirt/call-scheduler.ts'

interface Named extends ScheduledCall<Named> {
  name: string
}

/** A scheduler with one connection; more can be added. */
function scheduler(limits: Partial<SchedulerLimits> = {}) {
  const sent: string[] = []
  const queue = new CallScheduler<Named>(limits)
  const attach = (prefix = '') => queue.attach((one) => sent.push(`${prefix}${one.name}`))
  const home = attach()
  queue.share(home)
  const call = (name: string, lane?: string, high = false, bound = false): Named => {
    return { name, lane, high, bound, home, state: 'new', slots: undefined, sentAtMs: undefined }
  }
  return { scheduler: queue, sent, call, home, attach }
}

describe('call scheduler', () => {
  it('sends one call of a lane at a time, in order', () => {
    const { scheduler: queue, sent, call } = scheduler()
    const calls = ['a', 'b', 'c'].map((name) => call(name, 'vm/monitor'))
    for (const one of calls) queue.submit(one)
    expect(sent).toEqual(['a'])
    queue.finished(calls[0] as Named)
    queue.finished(calls[1] as Named)
    expect(sent).toEqual(['a', 'b', 'c'])
    expect(queue.inFlight).toBe(1)
  })

  it('keeps a slot for calls that never wait for a VM', () => {
    const { scheduler: queue, sent, call } = scheduler()
    for (const name of ['l1', 'l2', 'l3', 'l4']) queue.submit(call(name, name))
    expect(sent).toEqual(['l1', 'l2', 'l3'])
    queue.submit(call('h1', undefined, true))
    queue.submit(call('h2', undefined, true))
    expect(sent).toEqual(['l1', 'l2', 'l3', 'h1'])
    expect(queue.queued).toBe(2)
  })

  it('prefers high-priority calls when a slot gets free', () => {
    const { scheduler: queue, sent, call } = scheduler()
    const high = ['h1', 'h2', 'h3', 'h4', 'h5'].map((name) => call(name, undefined, true))
    for (const one of high.slice(0, 4)) queue.submit(one)
    queue.submit(call('low'))
    queue.submit(high[4] as Named)
    queue.finished(high[0] as Named)
    expect(sent.at(-1)).toBe('h5')
    queue.finished(high[1] as Named)
    expect(sent.at(-1)).toBe('low')
  })

  it('takes back what was not sent, and only that', () => {
    const { scheduler: queue, sent, call } = scheduler()
    const first = call('first', 'vm')
    const second = call('second', 'vm')
    const third = call('third', 'vm')
    for (const one of [first, second, third]) queue.submit(one)
    expect(queue.withdraw(second)).toBe(true)
    expect(queue.withdraw(first)).toBe(false)
    expect(queue.inFlight).toBe(1)
    queue.finished(first)
    expect(sent).toEqual(['first', 'third'])
  })

  it('passes the lane on when a ready call is taken back', () => {
    const { scheduler: queue, sent, call } = scheduler()
    const busy = ['x', 'y', 'z'].map((name) => call(name, name))
    for (const one of busy) queue.submit(one)
    const ready = call('ready', 'vm')
    const waiting = call('waiting', 'vm')
    queue.submit(ready)
    queue.submit(waiting)
    expect(queue.withdraw(ready)).toBe(true)
    queue.finished(busy[0] as Named)
    expect(sent).toEqual(['x', 'y', 'z', 'waiting'])
    for (const one of [busy[1], busy[2], waiting]) queue.finished(one as Named)
    expect(queue.inFlight).toBe(0)
    expect(queue.queued).toBe(0)
  })
})

describe('several connections', () => {
  it('take calls of others once they share, each within its own limits', () => {
    const { scheduler: queue, sent, call, attach } = scheduler()
    for (const name of ['l1', 'l2', 'l3', 'l4', 'l5']) queue.submit(call(name, name))
    const second = attach('2:')
    expect(sent).toEqual(['l1', 'l2', 'l3'])
    queue.share(second)
    expect(sent.slice(3)).toEqual(['2:l4', '2:l5'])
    queue.submit(call('h1', undefined, true))
    queue.submit(call('h2', undefined, true))
    queue.submit(call('h3', undefined, true, true))
    expect(sent.slice(5)).toEqual(['h1', '2:h2'])
    expect(queue).toMatchObject({ connections: 2, inFlight: 7, queued: 1 })
  })

  it('keep the order of a lane across them', () => {
    const { scheduler: queue, sent, call, attach } = scheduler()
    queue.share(attach('2:'))
    const stuck = ['s1', 's2', 's3'].map((name) => call(name, name))
    for (const one of stuck) queue.submit(one)
    const calls = ['a', 'b'].map((name) => call(name, 'vm'))
    for (const one of calls) queue.submit(one)
    expect(sent).toEqual(['s1', 's2', 's3', '2:a'])
    queue.finished(calls[0] as Named)
    expect(sent.at(-1)).toBe('2:b')
  })

  it('leave a bound call to its own, which holds up nobody', () => {
    const { scheduler: queue, sent, call, attach } = scheduler()
    const stuck = ['s1', 's2', 's3'].map((name) => call(name, name))
    for (const one of stuck) queue.submit(one)
    queue.submit(call('bound', undefined, false, true))
    queue.submit(call('free'))
    queue.share(attach('2:'))
    expect(sent.slice(3)).toEqual(['2:free'])
    queue.finished(stuck[0] as Named)
    expect(sent.at(-1)).toBe('bound')
  })

  it('send what is bound to one past everything that waits for others', () => {
    const { scheduler: queue, sent, call, attach } = scheduler()
    for (const name of ['d1', 'd2', 'd3', 'd4', 'd5']) queue.submit(call(name, undefined, true))
    const opening = { ...call('opening', undefined, true, true), home: attach('2:') }
    queue.submit(opening)
    expect(sent.slice(4)).toEqual(['2:opening'])
    queue.submit({ ...call('second', undefined, true, true), home: opening.home })
    expect(sent.at(-1)).toBe('2:second')
  })

  it('pass on what waited for one that ends', () => {
    const { scheduler: queue, sent, call, attach } = scheduler()
    const second = attach('2:')
    queue.share(second)
    for (const name of ['s1', 's2', 's3']) queue.submit(call(name, name))
    queue.submit(call('lost', 'vm'))
    queue.submit(call('next', 'vm'))
    expect(queue.isIdle(second)).toBe(false)
    expect(sent.slice(3)).toEqual(['2:lost'])
    queue.detach(second)
    expect(queue.queued).toBe(1)
    expect(queue.connections).toBe(1)
    queue.share(attach('3:'))
    expect(sent.at(-1)).toBe('3:next')
  })

  it('are asked for high-priority calls too, when not one slot moves', async () => {
    vi.useFakeTimers()
    try {
      const { scheduler: queue, sent, call, attach } = scheduler({ stuckAfterMs: 100 })
      let asked = 0
      queue.onShortage = () => asked++
      for (const name of ['d1', 'd2', 'd3']) queue.submit(call(name, undefined, true))
      const quick = ['q1', 'q2'].map((name) => call(name, undefined, true))
      for (const one of quick) queue.submit(one)
      await vi.advanceTimersByTimeAsync(90)
      queue.finished(quick[0] as Named)
      await vi.advanceTimersByTimeAsync(90)
      expect(asked).toBe(0)
      queue.submit(call('q3', undefined, true))
      await vi.advanceTimersByTimeAsync(200)
      expect(asked).toBeGreaterThan(0)
      queue.share(attach('2:'))
      expect(sent.at(-1)).toBe('2:q3')
    } finally {
      vi.useRealTimers()
    }
  })

  it('are asked for while stuck calls hold what others wait for, and only then', async () => {
    vi.useFakeTimers()
    try {
      const { scheduler: queue, call, attach } = scheduler({ stuckAfterMs: 100 })
      let asked = 0
      queue.onShortage = () => asked++
      const stuck = ['s1', 's2', 's3'].map((name) => call(name, name))
      for (const one of stuck) queue.submit(one)
      await vi.advanceTimersByTimeAsync(1000)
      expect(asked).toBe(0)
      const waiting = call('waiting')
      queue.submit(waiting)
      await vi.advanceTimersByTimeAsync(99)
      expect(asked).toBe(0)
      await vi.advanceTimersByTimeAsync(201)
      expect(asked).toBe(3)
      queue.share(attach('2:'))
      expect(waiting.state).toBe('sent')
      await vi.advanceTimersByTimeAsync(1000)
      expect(asked).toBe(3)
      // A whole healthy connection's worth of slots moves: busy, not stuck.
      queue.finished(waiting)
      const busy = Array.from({ length: 12 }, (_, at) => call(`busy${at}`))
      for (const one of busy) queue.submit(one)
      for (let at = 0; at < 9; at += 3) {
        await vi.advanceTimersByTimeAsync(60)
        for (const one of busy.slice(at, at + 3)) queue.finished(one)
      }
      expect(asked).toBe(3)
      queue.clear()
      queue.submit(call('after'))
      await vi.advanceTimersByTimeAsync(1000)
      expect(asked).toBe(3)
    } finally {
      vi.useRealTimers()
    }
  })
})
