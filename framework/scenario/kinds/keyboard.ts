import { parseDuration } from '../../core/index.ts'
import type { PressOptions, TypeOptions } from '../../desktop/api.ts'
import type { Delivery } from '../../input/api.ts'
import { DURATION, NAME, TEXT, type CheckFinding, type TextChecks } from '../model/index.ts'
import { defineStep, type StepContext, type StepParams, type TextParam } from '../step-kind.ts'
import { delivered, INPUT_PARAMS, inputOptions } from './input-options.ts'

const SLOWEST_STROKE_MS = 50
/** Most strokes of a character that is typed by its code. */
const STROKES_BY_CODE = 7
const LAYOUT = { ...NAME, description: 'Keyboard layout the guest uses: us (default), gb, de or fr' }
const MODIFIERS = new Set(['ctrl', 'control', 'alt', 'shift', 'win', 'super', 'meta', 'cmd'])

export const keyboardType = defineStep({
  action: 'keyboard.type',
  aliases: ['keyboard.send_text', 'send_text', 'input_text'],
  summary: 'Types text stroke by stroke; a newline is Enter, a tab is Tab',
  params: {
    properties: {
      text: { ...TEXT, description: 'What to type' },
      layout: LAYOUT,
      delay: { ...DURATION, description: 'Fixed pause between strokes' },
      on_unmapped: { enum: ['error', 'skip'], description: 'What to do with characters the layout cannot make' },
      unicode: { enum: ['guest'], description: 'Types such characters by their code, where the guest has a way' },
      ...INPUT_PARAMS,
    },
    required: ['text'],
  },
  needs: ['vm'],
  verifiable: true,
  opaque: ['text'],
  check(params, checks) {
    if (typeof params['text'] !== 'string' || params['text'].includes('${')) return []
    if (params['on_unmapped'] === 'skip' || params['unicode'] !== undefined) return []
    const layout = typeof params['layout'] === 'string' ? params['layout'] : checks.layout
    return attempt('text', () => checks.text(params['text'] as string, layout))
  },
  ownDurationMs(params, input) {
    const { text, unicode } = params
    const characters = typeof text === 'string' ? text.length : 256
    const strokes = unicode === undefined ? characters : characters * STROKES_BY_CODE
    return (
      strokes *
      (params['delay'] === undefined ? (input.delayMs ?? SLOWEST_STROKE_MS) : parseDuration(params['delay'], 's'))
    )
  },
  async run(context, params) {
    const { vm, input } = context
    const delayMs = params['delay'] === undefined ? input.delayMs : parseDuration(params['delay'], 's')
    const options: TypeOptions = {
      ...inputOptions(context, params),
      layout: (params['layout'] as string | undefined) ?? input.layout,
      ...(delayMs === undefined ? {} : { delayMs }),
      ...(params['unicode'] === undefined ? {} : { unicode: 'guest' }),
      ...(params['on_unmapped'] === undefined ? {} : { onUnmapped: params['on_unmapped'] as 'error' | 'skip' }),
    }
    return delivered(await vm.keyboard.type(params['text'] as TextParam, options))
  },
})

export const keyboardPress = defineStep({
  action: 'keyboard.press',
  aliases: ['keyboard.send_key', 'send_key'],
  summary: 'Presses a key or chord such as enter or ctrl+alt+del and releases it',
  params: {
    properties: {
      key: { ...NAME, description: 'Key or chord' },
      layout: LAYOUT,
      hold: { ...DURATION, description: 'How long it is held' },
      ...INPUT_PARAMS,
    },
    required: ['key'],
  },
  needs: ['vm'],
  verifiable: true,
  check: (params, checks) => chordCheck('key', params['key'], checks, params['layout']),
  ownDurationMs: (params, input) =>
    params['hold'] === undefined ? (input.holdMs ?? 0) : parseDuration(params['hold'], 's'),
  run: async (context, params) =>
    delivered(await context.vm.keyboard.press(params['key'] as string, pressOptions(context, params))),
})

export const keyboardSendKeys = defineStep({
  action: 'keyboard.send_keys',
  summary: 'Presses a list of keys or chords one after the other',
  params: {
    properties: {
      keys: { type: 'array', items: NAME, minItems: 1, description: 'Keys or chords, one after the other' },
      layout: LAYOUT,
      hold: { ...DURATION, description: 'How long each is held' },
      ...INPUT_PARAMS,
    },
    required: ['keys'],
  },
  needs: ['vm'],
  verifiable: true,
  check(params, checks) {
    if (!Array.isArray(params['keys'])) return []
    const keys = params['keys'] as string[]
    const findings = keys.flatMap((key) => chordCheck('keys', key, checks, params['layout']))
    const modifiers = keys.filter((key) => MODIFIERS.has(key.toLowerCase()))
    if (modifiers.length > 0 && modifiers.length === keys.length - 1) {
      findings.push({
        param: 'keys',
        note: `these keys are pressed one after the other; write "${keys.join('+')}" to press them together`,
      })
    }
    return findings
  },
  async run(context, params) {
    const deliveries: Delivery[] = []
    for (const key of params['keys'] as string[]) {
      deliveries.push(await context.vm.keyboard.press(key, pressOptions(context, params)))
    }
    return delivered(...deliveries)
  },
})

export const [keyboardDown, keyboardUp] = (['down', 'up'] as const).map((direction) =>
  defineStep({
    action: `keyboard.${direction}`,
    summary: direction === 'down' ? 'Presses a key and leaves it down' : 'Releases a key',
    params: { properties: { key: { ...NAME, description: 'Key' }, ...INPUT_PARAMS }, required: ['key'] },
    needs: ['vm'],
    verifiable: true,
    check: (params, checks) => chordCheck('key', params['key'], checks),
    run: async (context, params) =>
      delivered(await context.vm.keyboard[direction](params['key'] as string, inputOptions(context, params))),
  }),
) as [ReturnType<typeof defineStep>, ReturnType<typeof defineStep>]

function pressOptions(context: StepContext, params: StepParams): PressOptions {
  const holdMs = params['hold'] === undefined ? context.input.holdMs : parseDuration(params['hold'], 's')
  const layout = (params['layout'] as string | undefined) ?? context.input.layout
  return { ...inputOptions(context, params), layout, ...(holdMs === undefined ? {} : { holdMs }) }
}

function chordCheck(param: string, chord: unknown, checks: TextChecks, named?: unknown): CheckFinding[] {
  const layout = typeof named === 'string' ? named : checks.layout
  if (typeof chord !== 'string' || chord.includes('${')) return []
  return attempt(param, () => checks.chord(chord, layout))
}

function attempt(param: string, check: () => void): CheckFinding[] {
  try {
    check()
    return []
  } catch (error) {
    return [{ param, error }]
  }
}
