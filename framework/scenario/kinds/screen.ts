import { NAME } from '../model/index.ts'
import { defineStep } from '../step-kind.ts'

export const screenScreenshot = defineStep({
  action: 'screen.screenshot',
  summary: 'Attaches a picture of the guest screen to the report; capture stores its path',
  params: { properties: { title: { ...NAME, description: 'Name in the report; default screenshot' } } },
  needs: ['vm'],
  passive: true,
  async run({ vm, call, attach }, { title = 'screenshot' }) {
    const { contentType, bytes } = await vm.screenshot(call)
    const path = await attach(`${vm.name} ${String(title)}`, contentType, bytes)
    return { note: `${contentType}, ${bytes.length} bytes`, output: { path } }
  },
})
