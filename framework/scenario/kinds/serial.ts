import { NAME, TEXT } from '../model/index.ts'
import { defineStep } from '../step-kind.ts'

const PORT = { ...NAME, description: 'Name of the virtio-serial port; default the first free one' }

export const serialSend = defineStep({
  action: 'serial.send',
  summary: 'Sends text through a virtio-serial port, exactly as written',
  params: {
    properties: { port: PORT, text: { ...TEXT, description: 'The text, with its newline' } },
    required: ['text'],
  },
  paramAliases: { channel: 'port' },
  needs: ['vm'],
  async run({ serialPort, call }, { port, text }) {
    await (await serialPort(port as string | undefined)).send(text as string, call)
    return { note: `${Buffer.byteLength(text as string)} bytes` }
  },
})

export const serialExpect = defineStep({
  action: 'serial.expect',
  summary: 'Waits for text from a virtio-serial port; capture stores what matched',
  params: {
    properties: {
      port: PORT,
      contains: { ...NAME, description: 'Text to wait for' },
      matches: { type: 'string', format: 'regex', description: 'Regular expression to wait for' },
    },
    requireOne: ['contains', 'matches'],
  },
  paramAliases: { channel: 'port' },
  needs: ['vm'],
  passive: true,
  async run({ serialPort, call }, { port, contains, matches }) {
    const opened = await serialPort(port as string | undefined)
    const output = await opened.expectText({ contains, matches } as { contains?: string; matches?: string }, call)
    return { note: `received ${JSON.stringify(output)}`, output }
  },
})
