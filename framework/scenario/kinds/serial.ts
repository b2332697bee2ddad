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
    const text = contains as string | undefined
    const pattern = matches === undefined ? undefined : new RegExp(matches as string, 'u')
    const what = text === undefined ? `/${String(matches)}/` : JSON.stringify(text)
    const opened = await serialPort(port as string | undefined)
    const output = await opened.expect(
      what,
      (arrived) => {
        const found = pattern ? pattern.exec(arrived) : { index: arrived.indexOf(text as string), 0: text as string }
        return found && found.index >= 0 ? { end: found.index + found[0].length, match: found[0] } : undefined
      },
      call,
    )
    return { note: `received ${what}`, output }
  },
})
