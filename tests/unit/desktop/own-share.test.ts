import { describe, expect, it } from 'vitest'
import { describeOwnShare, measureOwnShare } from '../../../framework/desktop/index.ts'

describe('the loop-back self-test', () => {
  it('measures what the framework itself takes of an input action', async () => {
    const share = await measureOwnShare()
    expect(share.actions).toBe(50)
    expect(share.request.p50Ms).toBeGreaterThan(0)
    expect(share.request.p50Ms).toBeLessThanOrEqual(share.request.p99Ms)
    // The request is a part of the action.
    expect(share.request.p50Ms).toBeLessThan(share.action.p50Ms)
    expect(describeOwnShare(share)).toMatch(/^[\d.]+ ms of each latency \(p99 [\d.]+\), [\d.]+ ms of each key press/)
  })
})
