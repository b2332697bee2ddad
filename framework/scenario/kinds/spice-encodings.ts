import { parseDuration } from '../../core/index.ts'
import { DURATION } from '../model/index.ts'
import { defineStep } from '../step-kind.ts'

export const spiceEncodings = defineStep({
  action: 'spice.encodings',
  summary: 'Reports what a SPICE server offers: channels, capabilities, compressions; capture stores the report',
  params: {
    properties: {
      try_for: { ...DURATION, description: 'Also asks for each compression, and counts for so long what comes' },
    },
  },
  needs: ['vm'],
  passive: true,
  async run({ vm, call }, { try_for: tryFor }) {
    const tryForMs = tryFor === undefined ? 0 : parseDuration(tryFor as string | number, 's')
    const session = await vm.spice(call)
    const report = await session.encodings({ tryForMs, signal: call.signal })
    const { channels, choice } = report
    const closed = channels.filter(({ error }) => error).length
    const choices = choice.compression ? 'clients choose the compression' : 'the server chooses the compression'
    return { note: `${channels.length} channels, ${closed} of them not opened; ${choices}`, output: report }
  },
})
