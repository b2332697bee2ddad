import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import type { ImageContext } from '../../../../framework/protocols/spice/codec/image.ts'
import { decodeRecorded, newContext, readDescriptor, RECORDED, recordedBytes } from './recordings.ts'

describe('images that spice-server 0.15.1 made', () => {
  const contexts = new Map<string, ImageContext>()

  it.each(RECORDED)('$file has the pixels that were drawn', (recording) => {
    const { file, type, width, height, isMask, sha256 } = recording
    const channel = file.slice(0, file.indexOf('-'))
    const context = contexts.get(channel) ?? newContext()
    contexts.set(channel, context)
    const bytes = recordedBytes(recording)
    expect(readDescriptor(bytes, recording.imageOffset)).toMatchObject({ type, width, height })
    const picture = decodeRecorded(recording, bytes, context)
    expect([picture.width, picture.height, picture.data.length]).toEqual([width, height, width * height])
    if ('hasAlpha' in picture) expect(picture.hasAlpha).toBe(file.includes('-rgba-'))
    else expect(isMask).toBe(true)
    // Of pixels without alpha the fourth byte means nothing.
    if ('hasAlpha' in picture && !picture.hasAlpha) {
      for (let at = 0; at < picture.data.length; at++) picture.data[at] = (picture.data[at] as number) | 0xff000000
    }
    expect(createHash('sha256').update(new Uint8Array(picture.data.buffer)).digest('hex')).toBe(sha256)
  })
  it('take alpha alone as a picture, too', () => {
    const masks = RECORDED.filter(({ file }) => file.includes('-a8-'))
    expect(masks.map(({ type }) => type)).toEqual(expect.arrayContaining([0, 101, 109]))
    for (const recording of masks) {
      const bytes = recordedBytes(recording)
      const { data: alpha } = decodeRecorded(recording, bytes, newContext())
      const picture = decodeRecorded({ ...recording, isMask: false }, bytes, newContext())
      expect(picture).toMatchObject({ hasAlpha: true, width: recording.width, height: recording.height })
      expect([...picture.data]).toEqual(Array.from(alpha, (value) => (value << 24) >>> 0))
    }
  })

  it('are the same in memory that held another picture', () => {
    const used = new Uint32Array(1_000_000)
    const room = (pixels: number) => used.subarray(3, pixels + 3)
    const packed = RECORDED.filter(({ type, isMask }) => (type === 101 || type === 109) && !isMask)
    expect(packed.length).toBeGreaterThan(15)
    for (const recording of packed) {
      const bytes = recordedBytes(recording)
      used.fill(0x5a5a5a5a)
      const picture = decodeRecorded(recording, bytes, { ...newContext(), room })
      expect(picture, recording.file).toEqual(decodeRecorded(recording, bytes, newContext()))
    }
  })
})
