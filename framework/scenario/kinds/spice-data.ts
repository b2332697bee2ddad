import { openAsBlob } from 'node:fs'
import { stat } from 'node:fs/promises'
import { basename, resolve } from 'node:path'
import { assertionError, configError, messageOf, type CallOptions } from '../../core/index.ts'
import type { Vm } from '../../desktop/api.ts'
import type { SpicePort } from '../../protocols/spice/index.ts'
import { NAME, TEXT, type JsonSchema } from '../model/index.ts'
import { SerialPort } from '../serial-port.ts'
import { defineStep } from '../step-kind.ts'

const PORT: JsonSchema = { ...NAME, description: 'Name of the SPICE port' }

export const spiceClipboardWrite = defineStep({
  action: 'spice.clipboard_write',
  summary: 'Copies text for the guest, which its SPICE agent fetches when somebody pastes there',
  params: { properties: { text: { ...TEXT, description: 'What is copied' } }, required: ['text'] },
  needs: ['vm'],
  async run({ vm, call }, { text }) {
    await (await vm.spice(call)).agent.clipboard.write(text as string, call)
    return { note: `${(text as string).length} characters` }
  },
})

export const spiceClipboardRead = defineStep({
  action: 'spice.clipboard_read',
  summary: 'Reads the text that was copied in the guest, waiting for it; capture stores it, `equals` demands it',
  params: { properties: { equals: { ...TEXT, description: 'The whole text' } } },
  needs: ['vm'],
  passive: true,
  async run({ vm, call }, { equals }) {
    const text = await (await vm.spice(call)).agent.clipboard.read(call)
    if (equals !== undefined && text !== equals) {
      throw assertionError(
        'ATP_SPICE_CLIPBOARD_TEXT',
        `the clipboard of ${vm.name} holds ${JSON.stringify(text.slice(0, 400))}, not ${JSON.stringify(equals)}`,
      )
    }
    return { output: text, note: `${text.length} characters` }
  },
})

export const spiceSendFile = defineStep({
  action: 'spice.send_file',
  summary: 'Sends a file of this machine to the SPICE agent of the guest, which puts it where it puts such files',
  params: {
    properties: {
      file: { ...NAME, description: 'The file; a relative path starts where the run does' },
      name: { ...NAME, description: 'Its name in the guest; default the same' },
    },
    required: ['file'],
  },
  needs: ['vm'],
  async run({ vm, call }, { file, name = basename(file as string) }) {
    const content = await contentOf(resolve(file as string))
    await (await vm.spice(call)).agent.sendFile(name as string, content, call)
    return { note: `${String(name)}, ${content.size} bytes` }
  },
})

export const spiceShareFolder = defineStep({
  action: 'spice.share_folder',
  summary: 'Shares a folder of this machine with the guest over its SPICE folder channel, as long as the VM is held',
  params: {
    properties: { folder: { ...NAME, description: 'The folder; a relative path starts where the run does' } },
    required: ['folder'],
  },
  needs: ['vm'],
  async run({ vm, call }, { folder }) {
    const { path } = await (await vm.spice(call)).shareFolder(folder as string, call)
    return { note: path }
  },
})

export const spicePortSend = defineStep({
  action: 'spice.port_send',
  summary: 'Sends text through a SPICE port, exactly as written, once the guest has it open',
  params: {
    properties: { port: PORT, text: { ...TEXT, description: 'The text, with its newline' } },
    required: ['port', 'text'],
  },
  needs: ['vm'],
  async run({ vm, call }, { port, text }) {
    const { spicePort, texts } = await open(vm, port as string, call)
    // Given up here, it is not sent later.
    await spicePort.waitForGuest(call)
    await texts.send(text as string, call)
    return { note: `${Buffer.byteLength(text as string)} bytes` }
  },
})

export const spicePortExpect = defineStep({
  action: 'spice.port_expect',
  summary: 'Waits for text from a SPICE port; capture stores what matched',
  params: {
    properties: {
      port: PORT,
      contains: { ...NAME, description: 'Text to wait for' },
      matches: { type: 'string', format: 'regex', description: 'Regular expression to wait for' },
    },
    required: ['port'],
    requireOne: ['contains', 'matches'],
  },
  needs: ['vm'],
  passive: true,
  async run({ vm, call }, { port, contains, matches }) {
    const { texts } = await open(vm, port as string, call)
    const output = await texts.expectText({ contains, matches } as { contains?: string; matches?: string }, call)
    return { note: `received ${JSON.stringify(output)}`, output }
  },
})

/** What came of a port and was not expected yet. */
const textsOf = new WeakMap<SpicePort, SerialPort>()

async function open(vm: Vm, name: string, call: CallOptions): Promise<{ spicePort: SpicePort; texts: SerialPort }> {
  const spicePort = await (await vm.spice(call)).port(name, call)
  const texts = textsOf.get(spicePort) ?? new SerialPort(spicePort)
  textsOf.set(spicePort, texts)
  return { spicePort, texts }
}

async function contentOf(file: string): Promise<Blob> {
  try {
    if ((await stat(file)).isFile()) return await openAsBlob(file)
  } catch (cause) {
    throw configError('ATP_SCENARIO_FILE', `${file} cannot be sent: ${messageOf(cause)}`, { cause })
  }
  throw configError('ATP_SCENARIO_FILE', `${file} cannot be sent: it is no file`)
}
