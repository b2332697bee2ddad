import { describe, expect, it } from 'vitest'
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
