import { describe, expect, it } from 'vitest'
import { addRedaction, Secret } from '../../../framework/core/index.ts'
import { TranscriptRecorder } from '../../../framework/protocols/transcript.ts'

const lines = (recorder: TranscriptRecorder) =>
  recorder
    .toJsonLines()
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)

describe('TranscriptRecorder', () => {
  it('keeps both directions in order with times', () => {
    const recorder = new TranscriptRecorder()
    const before = Date.now()
    recorder.record('vm-001', 'qmp', 'out', '{"execute":"query-status"}')
    recorder.record('vm-001', 'qmp', 'in', Buffer.from('{"return":"中文"}'))
    const [out, back] = lines(recorder)
    expect(out).toMatchObject({ vm: 'vm-001', protocol: 'qmp', direction: 'out', text: '{"execute":"query-status"}' })
    expect(back).toMatchObject({ direction: 'in', text: '{"return":"中文"}' })
    expect(out?.['time']).toBeGreaterThanOrEqual(before - 50)
    expect(back?.['time']).toBeGreaterThanOrEqual(out?.['time'] as number)
  })

  it('masks secrets, also those that become known later and those at a cut', () => {
    const recorder = new TranscriptRecorder({ entryLimitBytes: 20 })
    const secret = new Secret('desk', 'wonderland-41')
    recorder.record('vm', 'qga', 'out', `echo ${secret.reveal()} and more that is cut off`)
    recorder.record('vm', 'qga', 'out', `12345678901234567${secret.reveal()}`)
    recorder.record('vm', 'qga', 'in', 'later-known-77')
    addRedaction('later-known-77')
    const text = recorder.toJsonLines()
    expect(text).not.toContain('wonderland')
    expect(text).not.toContain('won')
    expect(text).not.toContain('later-known')
    expect(lines(recorder)[0]).toMatchObject({ text: 'echo ••• and more th', cutBytes: 13 })
  })

  it('withholds content while a secret is being entered', () => {
    const recorder = new TranscriptRecorder()
    const outer = recorder.withhold()
    const inner = recorder.withhold()
    inner()
    inner()
    recorder.record('vm', 'qmp', 'out', 'qcode h')
    outer()
    recorder.record('vm', 'qmp', 'out', 'qcode a')
    expect(lines(recorder).map((entry) => String(entry['text']).includes('qcode'))).toEqual([false, true])
  })

  it('stays within its limit and says what is missing', () => {
    const recorder = new TranscriptRecorder({ limitBytes: 1000 })
    for (let i = 0; i < 100; i++) recorder.record('vm', 'qmp', 'in', `${i}`.padEnd(100))
    const [head, ...rest] = lines(recorder)
    expect(head).toEqual({ dropped: recorder.dropped })
    expect(rest.length + recorder.dropped).toBe(100)
    expect(rest.length).toBeLessThanOrEqual(10)
    expect(rest.length).toBeGreaterThanOrEqual(5)
    expect(String(rest.at(-1)?.['text']).trim()).toBe('99')
    expect(String(rest[0]?.['text']).trim()).toBe(`${recorder.dropped}`)
  })
})
