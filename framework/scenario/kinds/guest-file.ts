import { textComplaint, untilHolds, type TextExpectation } from '../expectation.ts'
import { FLAG, NAME, TEXT } from '../model/index.ts'
import { defineStep } from '../step-kind.ts'

const PATH = { ...NAME, description: 'Path in the guest' }

export const fileRead = defineStep({
  action: 'file.read',
  summary: 'Reads a text file of the guest; capture stores its content',
  params: { properties: { path: PATH }, required: ['path'] },
  needs: ['vm'],
  async run({ vm, call }, { path }) {
    const text = await vm.guest.file(path as string).text(call)
    return { note: `${Buffer.byteLength(text)} bytes`, output: text }
  },
})

export const fileWrite = defineStep({
  action: 'file.write',
  summary: 'Writes a text file in the guest',
  params: {
    properties: { path: PATH, content: { ...TEXT, description: 'The whole content' } },
    required: ['path', 'content'],
  },
  needs: ['vm'],
  async run({ vm, call }, { path, content }) {
    await vm.guest.file(path as string).write(content as string, call)
    return { note: `${Buffer.byteLength(content as string)} bytes` }
  },
})

export const expectFile = defineStep({
  action: 'expect.file',
  summary: 'Waits until a file of the guest exists, or has the expected content',
  params: {
    properties: {
      path: PATH,
      exists: { ...FLAG, description: 'false: the file must be gone' },
      equals: TEXT,
      contains: TEXT,
      matches: { type: 'string', format: 'regex' },
    },
    required: ['path'],
  },
  needs: ['vm'],
  passive: true,
  expectation: true,
  async run(context, { path, exists = true, equals, contains, matches }) {
    const file = context.vm.guest.file(path as string)
    const expected = { equals, contains, matches } as Exclude<TextExpectation, string>
    const compares = [equals, contains, matches].some((value) => value !== undefined)
    await untilHolds(context, `${String(path)} in ${context.vm.name}`, async (signal) => {
      const call = { ...context.call, signal }
      const found = await file.exists(call)
      if (found !== exists) return found ? 'it exists' : 'it does not exist'
      return found && compares ? textComplaint('its content', await file.text(call), expected) : undefined
    })
    return { note: exists ? 'as expected' : 'is gone' }
  },
})
