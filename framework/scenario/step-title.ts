import type { Step } from './model/index.ts'

const TELLING = [
  'text',
  'key',
  'keys',
  'command',
  'path',
  'port',
  'duration',
  'message',
  'status',
  'file',
  'handler',
  'name',
]
const LONGEST = 60

/** A step's title: the author's label, else the action with what tells it from others. */
export function titleOf(step: Step): string {
  if (step.label !== undefined) return step.label
  const name = TELLING.find((param) => step.params[param] !== undefined)
  const value = name === undefined ? undefined : step.params[name]
  const text = typeof value === 'string' && name !== 'text' ? value : value === undefined ? '' : JSON.stringify(value)
  const shown = [...text].length > LONGEST ? `${[...text].slice(0, LONGEST - 1).join('')}…` : text
  return [step.action, shown, step.on && `on ${step.on.join(', ')}`].filter(Boolean).join(' ')
}
