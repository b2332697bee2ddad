import { describe, expect, it } from 'vitest'
import {
  AtpError,
  callSite,
  configError,
  isAtpError,
  nearest,
  parseDuration,
  pollUntil,
  redact,
  Secret,
  sleep,
  verdictOf,
  withDeadline,
} from '../../../framework/core/index.ts'

describe('parseDuration', () => {
  it.each([
    ['500ms', 500],
    ['2s', 2000],
    ['1m30s', 90_000],
    ['1.5h', 5_400_000],
    [250, 250],
    ['250', 250],
  ])('%s is %d ms', (text, ms) => expect(parseDuration(text)).toBe(ms))
  it('counts bare numbers in seconds where YAML does', () => expect(parseDuration(10, 's')).toBe(10_000))
  it.each(['', 's', '5 minutes', '-1s', '1s2', Number.NaN, -1, null, {}])('refuses %s', (value) => {
    expect(() => parseDuration(value)).toThrow(expect.objectContaining({ code: 'ATP_DURATION' }))
  })
})

describe('errors', () => {
  it('are recognised across package copies by brand and code', () => {
    const error = configError('ATP_X', 'it broke', { remedy: 'mend it' })
    expect(isAtpError(error, 'ATP_X')).toBe(true)
    expect(isAtpError(error, 'ATP_Y')).toBe(false)
    expect(isAtpError(new Error('ATP_X'))).toBe(false)
    expect(error.message).toBe('it broke\n  → mend it')
  })
  it('carry a verdict by branch, the spec being at fault for foreign errors', () => {
    expect(verdictOf(new AtpError('connect', 'ATP_A', 'a'))).toBe('infrastructure')
    expect(verdictOf(new AtpError('assertion', 'ATP_A', 'a'))).toBe('product')
    expect(verdictOf(new TypeError('x is undefined'))).toBe('spec')
  })
})

describe('deadlines', () => {
  it('a limit longer than a timer can hold is not over at once', async () => {
    const month = withDeadline('work', { timeoutMs: 30 * 86_400_000 }, () => sleep(20))
    await expect(month).resolves.toBeUndefined()
  })

  it('reject at their limit and abort the work', async () => {
    let aborted = false
    const work = withDeadline('work', { timeoutMs: 10 }, (signal) => {
      signal.addEventListener('abort', () => (aborted = true))
      return new Promise<never>(() => {})
    })
    await expect(work).rejects.toMatchObject({ code: 'ATP_TIMEOUT' })
    expect(aborted).toBe(true)
  })
  it('reject on abort', async () => {
    const controller = new AbortController()
    const waiting = sleep(10_000, controller.signal)
    controller.abort()
    await expect(waiting).rejects.toMatchObject({ code: 'ATP_INTERRUPTED' })
  })
  it('pollUntil names the last failure', async () => {
    const probe = () => Promise.reject(new Error('not yet'))
    await expect(pollUntil('it', { timeoutMs: 30, intervalMs: 5 }, probe)).rejects.toMatchObject({
      code: 'ATP_TIMEOUT',
      cause: expect.objectContaining({ message: 'not yet' }),
    })
  })
})

describe('secrets', () => {
  it('never show themselves', () => {
    const secret = new Secret('desk', 'P@ss"word')
    expect(`${secret} ${JSON.stringify({ secret })}`).not.toContain('P@ss')
    expect(redact('typed P@ss"word into it')).toBe('typed ••• into it')
    expect(redact(JSON.stringify({ value: 'P@ss"word' }))).not.toContain('ss\\"word')
    expect(redact(Buffer.from('P@ss"word').toString('base64'))).not.toContain('UEBzcyJ3b3Jk')
    expect(secret.reveal()).toBe('P@ss"word')
  })
})

describe('nearest', () => {
  it('finds what was meant and nothing else', () => {
    expect(nearest('durration', ['duration', 'domain'])).toBe('duration')
    expect(nearest('tiemout', ['timeout', 'text'])).toBe('timeout')
    expect(nearest('xyz', ['timeout', 'text'])).toBeUndefined()
  })
})

describe('callSite', () => {
  it('leads an error from a timer back to the call, once', async () => {
    async function wanted() {
      await withDeadline('something', { timeoutMs: 1 }, () => new Promise(() => {}))
    }
    const error = await wanted().then(undefined, (reason: Error) => reason)
    expect(error?.stack?.match(/wanted/g)).toHaveLength(1)
  })

  it('leaves what is no error alone', () => {
    expect(callSite(describe).mark('text')).toBe('text')
  })
})
