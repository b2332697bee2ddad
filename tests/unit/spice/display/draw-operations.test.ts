import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { SURFACE_FORMAT } from '../../../../framework/protocols/spice/display/messages.ts'
import { drawCases } from '../../../support/spice-server/draw-cases.ts'
import { newScreen } from './display-messages.ts'
import { recordedDraws } from './recorded-draws.ts'

const recorded = recordedDraws()
const display = newScreen(64, 48, SURFACE_FORMAT.xrgb)

describe('draw operations recorded from a real server', () => {
  it('are those that the contract test draws', () => {
    const names = drawCases().map(({ name }) => name)
    expect(recorded.map(({ name }) => name)).toEqual(['ground', ...names])
  })

  it.each(recorded)('$name: no pixel differs', ({ type, body, sha256 }) => {
    display.handle(type, Uint8Array.from(Buffer.from(body, 'base64')))
    const { data } = display.screenshot()
    expect(createHash('sha256').update(new Uint8Array(data.buffer)).digest('hex')).toBe(sha256)
  })
})
