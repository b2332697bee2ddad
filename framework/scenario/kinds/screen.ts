import { parseDuration, type CallOptions } from '../../core/index.ts'
import type { Vm } from '../../desktop/api.ts'
import type { CompareOptions, Region, Screen, ScreenState } from '../../screen/index.ts'
import { textComplaint, untilHolds, type TextExpectation } from '../expectation.ts'
import { COUNT, DURATION, NAME, TEXT_EXPECTATION, type JsonSchema } from '../model/index.ts'
import { defineStep, type StepContext, type StepParams } from '../step-kind.ts'

const PIXEL: JsonSchema = { type: 'integer', minimum: 0 }
const REGION: JsonSchema = {
  description: 'Part of the screen in pixels from the left and the top',
  type: 'object',
  properties: { x: PIXEL, y: PIXEL, width: COUNT, height: COUNT },
  required: ['x', 'y', 'width', 'height'],
  additionalProperties: false,
}
const COMPARISON: Record<string, JsonSchema> = {
  region: REGION,
  masks: { type: 'array', items: REGION, description: 'Parts that are not compared' },
  tolerance: { type: 'number', minimum: 0, maximum: 1, description: 'How different two colours may be; default 0' },
  max_pixels: { ...PIXEL, description: 'How many pixels may differ; default 0' },
}
const VIA: JsonSchema = {
  enum: ['libvirt', 'spice'],
  description: 'Who draws it: the hypervisor (default), or a SPICE client as a user has it',
}
const IMAGE: JsonSchema = { ...NAME, description: 'Name of a picture in __screens__ beside the file, without .png' }
const LANGUAGES: JsonSchema = { type: 'array', items: NAME, minItems: 1, description: 'Of Tesseract; default eng' }

export const screenScreenshot = defineStep({
  action: 'screen.screenshot',
  summary: 'Attaches a picture of the guest screen to the report; capture stores its path',
  params: {
    properties: { title: { ...NAME, description: 'Name in the report; default screenshot' }, region: REGION, via: VIA },
  },
  needs: ['vm'],
  passive: true,
  async run({ vm, call, attach }, { title = 'screenshot', region, via }) {
    const screen = await screenOf(vm, via, call)
    const { contentType, bytes } = await screen.screenshot({
      ...call,
      ...(region ? { region: region as Region } : {}),
    })
    const path = await attach(`${vm.name} ${String(title)}`, contentType, bytes)
    return { note: `${contentType}, ${bytes.length} bytes`, output: { path } }
  },
})

export const screenWaitStable = defineStep({
  action: 'screen.wait_stable',
  summary: 'Waits until nothing has changed on the screen for a while',
  params: { properties: { for: { ...DURATION, description: 'How long; default 500ms' }, ...COMPARISON, via: VIA } },
  needs: ['vm'],
  passive: true,
  async run({ vm, call }, params) {
    const { for: duration } = params
    const forMs = duration === undefined ? {} : { forMs: parseDuration(duration as string, 's') }
    const screen = await screenOf(vm, params['via'], call)
    await screen.waitForStable({ ...comparison(params), ...forMs, ...call })
  },
})

export const screenWaitChange = defineStep({
  action: 'screen.wait_change',
  summary: 'Waits until the screen looks different from how it looks when the step begins',
  params: { properties: { ...COMPARISON, via: VIA } },
  needs: ['vm'],
  passive: true,
  async run({ vm, call }, params) {
    const screen = await screenOf(vm, params['via'], call)
    await screen.waitForChange({ ...comparison(params), ...call })
  },
})

export const screenExpectImage = defineStep({
  action: 'screen.expect_image',
  summary: 'Waits until the screen looks like a picture; attaches the differences when it does not',
  params: { properties: { image: IMAGE, ...COMPARISON, via: VIA }, required: ['image'] },
  needs: ['vm'],
  passive: true,
  expectation: true,
  async run({ vm, call, attach, images }, params) {
    const options = { ...comparison(params), ...call }
    const screen = await screenOf(vm, params['via'], call)
    return { note: await images.match(screen, params['image'] as string, options, attach) }
  },
})

export const screenExpectText = defineStep({
  action: 'screen.expect_text',
  summary: 'Waits until the screen shows a text, as Tesseract reads it',
  params: {
    properties: { text: TEXT_EXPECTATION, region: REGION, languages: LANGUAGES, via: VIA },
    required: ['text'],
  },
  needs: ['vm'],
  passive: true,
  expectation: true,
  async run(context, { text, region, languages, via }) {
    const screen = await screenOf(context.vm, via, context.call)
    await untilHolds(context, `the text on the screen of ${screen.name}`, async (signal) => {
      const bounds = { ...context.call, signal, ...reading(region, languages) }
      return textComplaint('it', await screen.text(bounds), text as TextExpectation)
    })
  },
})

export const screenExpectResize = defineStep({
  action: 'screen.expect_resize',
  summary: 'Waits until the screen has a size, in pixels',
  params: { properties: { width: COUNT, height: COUNT, via: VIA }, required: ['width', 'height'] },
  needs: ['vm'],
  passive: true,
  async run({ vm, call }, { width, height, via }) {
    const screen = await screenOf(vm, via, call)
    await screen.waitForSize({ width: width as number, height: height as number }, call)
  },
})

export const screenFirst = defineStep({
  action: 'screen.first',
  summary: 'Waits until one of several states is on the screen; capture stores its name',
  params: {
    properties: {
      states: {
        type: 'array',
        minItems: 1,
        items: {
          type: 'object',
          properties: { name: NAME, image: IMAGE, text: NAME, languages: LANGUAGES, ...COMPARISON },
          required: ['name'],
          anyOf: [{ required: ['image'] }, { required: ['text'] }],
          additionalProperties: false,
        },
      },
      via: VIA,
    },
    required: ['states'],
  },
  needs: ['vm'],
  passive: true,
  async run(context, { states, via }) {
    const wanted = await Promise.all((states as StepParams[]).map((state) => stateOf(context, state)))
    const screen = await screenOf(context.vm, via, context.call)
    const name = await screen.first(wanted, context.call)
    return { note: name, output: name }
  },
})

async function stateOf({ images }: StepContext, state: StepParams): Promise<ScreenState> {
  const { name, image, text, region, languages } = state
  return {
    name: name as string,
    ...comparison(state),
    ...reading(region, languages),
    ...(image === undefined ? {} : { image: await images.read(image as string) }),
    ...(text === undefined ? {} : { text: text as string }),
  }
}

function screenOf(vm: Vm, via: unknown, call: CallOptions): Promise<Screen> {
  return vm.screenVia((via as Screen['via'] | undefined) ?? 'libvirt', call)
}

function comparison({ region, masks, tolerance, max_pixels: maxPixels }: StepParams): CompareOptions {
  return Object.fromEntries(
    Object.entries({ region, masks, tolerance, maxPixels }).filter(([, value]) => value !== undefined),
  )
}

function reading(region: unknown, languages: unknown) {
  return {
    ...(region === undefined ? {} : { region: region as Region }),
    ...(languages === undefined ? {} : { languages: languages as string[] }),
  }
}
