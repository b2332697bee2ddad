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
    expect(createHash('sha256').update(new Uint8Array(picture.data.buffer)).digest('hex')).toBe(sha256)
  })
})
