import { readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { SourceScreen, toPicture } from '../../../framework/screen/index.ts'

const bytes = await readFile(new URL('../../../specs/__screens__/就绪 ready.png', import.meta.url))
const console = toPicture({ contentType: 'image/png', bytes })
const screen = new SourceScreen({ name: 'vm-001', via: 'libvirt', picture: async () => console })

describe('text on a screen, read by Tesseract', () => {
  it('is that of the console, whole or in a region', async () => {
    expect(await screen.text()).toBe('READY 42')
    expect(await screen.text({ region: { x: 0, y: 0, width: 44, height: 20 } })).toBe('READY')
  })

  it('chooses among states', { timeout: 30_000 }, async () => {
    const states = [
      { name: 'failed', text: 'FAILED' },
      { name: 'ready', text: /ready \d+/i },
    ]
    expect(await screen.first(states)).toBe('ready')
    await expect(screen.first(states.slice(0, 1), { timeoutMs: 6000 })).rejects.toThrow('the text is "READY 42"')
  })

  it('needs languages that are there', async () => {
    await expect(screen.text({ languages: ['xyz'] })).rejects.toMatchObject({
      code: 'ATP_SCREEN_OCR',
      remedy: expect.stringContaining('tesseract-ocr-xyz'),
    })
    await expect(screen.text({ languages: ['eng; rm -rf /'] })).rejects.toMatchObject({ code: 'ATP_SCREEN_LANGUAGE' })
  })

  it('is given up in time', async () => {
    await expect(screen.text({ timeoutMs: 1 })).rejects.toMatchObject({ code: 'ATP_TIMEOUT' })
  })
})
