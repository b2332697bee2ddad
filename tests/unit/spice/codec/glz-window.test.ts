import { describe, expect, it } from 'vitest'
import { GlzWindow } from '../../../../framework/protocols/spice/codec/glz-window.ts'
import { decodeRecorded, newContext, RECORDED, recordedBytes, type Recording } from './recordings.ts'

const image = (id: number, oldestId: number, pixels = 10) => ({ id, oldestId, words: new Int32Array(pixels).fill(id) })

describe('the window of GLZ images', () => {
  it('drops what no image refers to any more', () => {
    const window = new GlzWindow(1000)
    for (const id of [0, 1, 2]) window.add(image(id, 0))
    expect(window.pixels).toBe(30)
    window.add(image(3, 2))
    expect(window.pixels).toBe(20)
    expect(window.get(2)[0]).toBe(2)
    expect(() => window.get(1)).toThrow(/image 1 is referred to, which the window no longer holds/)
  })

  it('drops nothing while an image is missing that could refer to it', () => {
    const window = new GlzWindow(1000)
    window.add(image(0, 0))
    window.add(image(2, 2))
    expect(window.get(0)[0]).toBe(0)
    window.add(image(1, 0))
    expect(() => window.get(0)).toThrow(expect.objectContaining({ code: 'ATP_SPICE_IMAGE' }))
  })

  it('holds no more than it was told, besides the newest', () => {
    const window = new GlzWindow(25)
    for (let id = 0; id < 50; id++) window.add(image(id, 0))
    expect(window.pixels).toBe(30)
    expect(() => window.get(46)).toThrow(expect.objectContaining({ code: 'ATP_SPICE_IMAGE' }))
    expect(window.get(47)[0]).toBe(47)
  })

  it('refuses a number that came already, and begins anew at 0', () => {
    const window = new GlzWindow(1000)
    for (const id of [0, 1, 3]) window.add(image(id, 0))
    for (const id of [1, 3]) {
      expect(() => window.add(image(id, 0))).toThrow(expect.objectContaining({ code: 'ATP_SPICE_IMAGE' }))
    }
    window.add(image(0, 0))
    expect(window.pixels).toBe(10)
    expect(() => window.get(1)).toThrow(expect.objectContaining({ code: 'ATP_SPICE_IMAGE_AWAITED' }))
  })

  it('tells when an image has come, to all who wait', async () => {
    const window = new GlzWindow(1000)
    const both = Promise.all([window.arrival(1, { timeoutMs: 5000 }), window.arrival(1, { timeoutMs: 5000 })])
    window.add(image(0, 0))
    window.add(image(1, 0))
    await expect(both).resolves.toEqual([undefined, undefined])
    await expect(window.arrival(0, { timeoutMs: 1 })).resolves.toBeUndefined()
  })

  it('ends a wait at its limit, and on abort', async () => {
    const window = new GlzWindow(1000)
    await expect(window.arrival(0, { timeoutMs: 1 })).rejects.toMatchObject({ code: 'ATP_TIMEOUT' })
    const controller = new AbortController()
    const waiting = window.arrival(0, { signal: controller.signal })
    controller.abort()
    await expect(waiting).rejects.toMatchObject({ code: 'ATP_INTERRUPTED' })
  })
})

describe('images of two channels in the wrong order', () => {
  const sequence = RECORDED.filter(({ file }) => file.startsWith('glz-'))
  const decode = (recording: Recording, context: ReturnType<typeof newContext>) =>
    decodeRecorded(recording, recordedBytes(recording), context)

  it('wait for those that they refer to', async () => {
    const context = newContext()
    const whole = sequence.map((recording) => decode(recording, context))
    const again = newContext()
    const referring = sequence.findIndex((recording) => {
      const fresh = newContext()
      try {
        return !decode(recording, fresh)
      } catch {
        return true
      }
    })
    expect(referring).toBeGreaterThan(0)
    const last = sequence[referring] as Recording
    const first = (() => {
      try {
        decode(last, again)
      } catch (error) {
        return error as { code: string; context: { awaitedId: number } }
      }
      return undefined
    })()
    expect(first?.code).toBe('ATP_SPICE_IMAGE_AWAITED')
    const arrival = again.glz.arrival(first?.context.awaitedId ?? -1, { timeoutMs: 5000 })
    for (const recording of sequence.slice(0, referring)) decode(recording, again)
    await arrival
    expect(decode(last, again)).toEqual(whole[referring])
  })
})
