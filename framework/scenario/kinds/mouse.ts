import type { MouseButton, MouseOptions, Point } from '../../desktop/api.ts'
import { COUNT, type JsonSchema } from '../model/index.ts'
import { defineStep, type StepContext, type StepParams } from '../step-kind.ts'
import { delivered, INPUT_PARAMS, inputOptions } from './input-options.ts'

const BUTTON: JsonSchema = { enum: ['left', 'middle', 'right'], description: 'Default left' }
const COORDINATE: JsonSchema = { type: 'number', minimum: 0 }
const POINT: JsonSchema = {
  type: 'object',
  properties: { x: COORDINATE, y: COORDINATE },
  required: ['x', 'y'],
  additionalProperties: false,
}
const UNIT: JsonSchema = { enum: ['pixel', 'fraction'], description: 'Of the guest screen; default pixel' }

export const mouseMove = defineStep({
  action: 'mouse.move',
  aliases: ['send_mouse_move', 'mouse_move'],
  summary: 'Moves the pointer to a place on the guest screen',
  params: { properties: { x: COORDINATE, y: COORDINATE, unit: UNIT, ...INPUT_PARAMS }, required: ['x', 'y'] },
  needs: ['vm'],
  verifiable: true,
  run: async (context, params) =>
    delivered(await context.vm.mouse.move(params['x'] as number, params['y'] as number, mouseOptions(context, params))),
})

export const mouseClick = defineStep({
  action: 'mouse.click',
  aliases: ['send_mouse_click', 'mouse_click'],
  summary: 'Clicks, at a place when x and y are given',
  params: { properties: { x: COORDINATE, y: COORDINATE, unit: UNIT, button: BUTTON, count: COUNT, ...INPUT_PARAMS } },
  needs: ['vm'],
  verifiable: true,
  run: async (context, params) =>
    delivered(
      await context.vm.mouse.click({
        ...mouseOptions(context, params),
        ...(params['x'] === undefined ? {} : { x: params['x'] as number }),
        ...(params['y'] === undefined ? {} : { y: params['y'] as number }),
        button: buttonOf(params),
        count: (params['count'] as number | undefined) ?? 1,
      }),
    ),
})

export const mouseDoubleClick = defineStep({
  action: 'mouse.double_click',
  aliases: ['send_mouse_double_click', 'mouse_double_click'],
  summary: 'Clicks twice, at a place when x and y are given',
  params: { properties: { x: COORDINATE, y: COORDINATE, unit: UNIT, button: BUTTON, ...INPUT_PARAMS } },
  needs: ['vm'],
  verifiable: true,
  run: async (context, params) =>
    delivered(
      await context.vm.mouse.dblclick({
        ...mouseOptions(context, params),
        ...(params['x'] === undefined ? {} : { x: params['x'] as number }),
        ...(params['y'] === undefined ? {} : { y: params['y'] as number }),
        button: buttonOf(params),
      }),
    ),
})

export const [mouseDown, mouseUp] = (['down', 'up'] as const).map((direction) =>
  defineStep({
    action: `mouse.${direction}`,
    summary: direction === 'down' ? 'Presses a mouse button and leaves it down' : 'Releases a mouse button',
    params: { properties: { button: BUTTON, ...INPUT_PARAMS } },
    needs: ['vm'],
    verifiable: true,
    run: async (context, params) =>
      delivered(await context.vm.mouse[direction](buttonOf(params), mouseOptions(context, params))),
  }),
) as [ReturnType<typeof defineStep>, ReturnType<typeof defineStep>]

export const mouseScroll = defineStep({
  action: 'mouse.scroll',
  summary: 'Turns the wheel; positive is down',
  params: {
    properties: { notches: { type: 'integer', description: 'Positive is down' }, ...INPUT_PARAMS },
    required: ['notches'],
  },
  needs: ['vm'],
  verifiable: true,
  run: async (context, params) =>
    delivered(await context.vm.mouse.scroll(params['notches'] as number, mouseOptions(context, params))),
})

export const mouseDrag = defineStep({
  action: 'mouse.drag',
  aliases: ['send_mouse_drag', 'mouse_drag'],
  summary: 'Presses a button at one place, moves to another and releases it',
  params: {
    properties: { from: POINT, to: POINT, unit: UNIT, button: BUTTON, ...INPUT_PARAMS },
    required: ['from', 'to'],
  },
  needs: ['vm'],
  verifiable: true,
  run: async (context, params) =>
    delivered(
      await context.vm.mouse.drag(params['from'] as Point, params['to'] as Point, {
        ...mouseOptions(context, params),
        button: buttonOf(params),
      }),
    ),
})

function mouseOptions(context: StepContext, params: StepParams): MouseOptions {
  return {
    ...inputOptions(context, params),
    ...(params['unit'] === undefined ? {} : { unit: params['unit'] as 'pixel' | 'fraction' }),
  }
}

function buttonOf(params: StepParams): MouseButton {
  return (params['button'] as MouseButton | undefined) ?? 'left'
}
