import type { Step } from './model/index.ts'

const TELLING = [
  'text',
  'key',
  'keys',
  'command',
  'path',
  'matches',
  'contains',
  'port',
  'duration',
  'message',
  'status',
  'file',
  'handler',
  'name',
]
const LONGEST = 60

/**
 * A step's title: the author's label, else the action with what tells it from others.
 *
 * @param fill fills in expressions; what it makes secret shows as a mask. Without it they show as written.
 */
export function titleOf(step: Step, fill: (value: unknown) => unknown = (value) => value): string {
  const filled = (value: unknown) => {
    try {
      return fill(value)
    } catch {
      // The step itself will say what is wrong with the expression.
      return value
    }
  }
  if (step.label !== undefined) return String(filled(step.label))
  const name = TELLING.find((param) => step.params[param] !== undefined)
  const value = name === undefined ? undefined : filled(step.params[name])
  const text = typeof value === 'string' && name !== 'text' ? value : value === undefined ? '' : JSON.stringify(value)
  const shown = [...text].length > LONGEST ? `${[...text].slice(0, LONGEST - 1).join('')}…` : text
  return [step.action, shown, step.on && `on ${step.on.map((one) => String(filled(one))).join(', ')}`]
    .filter(Boolean)
    .join(' ')
}
