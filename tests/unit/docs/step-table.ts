import { stepRegistry, type StepKind } from '../../../framework/scenario/index.ts'

/** The table of step kinds in docs/writing-specs.md. */
export function stepTable(): string {
  const rows = stepRegistry.kinds
    .filter(isHere)
    .map((kind) => `| ${[name(kind), kind.summary, params(kind)].join(' | ')} |`)
  return ['| Action, other spellings | Does | Parameters |', '|---|---|---|', ...rows].join('\n')
}

function isHere({ needs }: StepKind): boolean {
  return needs.every((need) => need === 'vm')
}

function name({ action, aliases }: StepKind): string {
  return [action, ...aliases].map((one) => `\`${one}\``).join(', ')
}

/** What is common to input steps is said above the table. */
const COMMON = new Set(['via', 'device', 'observe'])

function params({ params: { properties, required = [], requireOne = [] }, nested }: StepKind): string {
  const names = Object.keys(properties).filter((key) => !('via' in properties && COMMON.has(key)))
  const shown = names.map((key) => {
    const code = `\`${key}\``
    if (required.includes(key)) return `**${code}**`
    return requireOne.includes(key) ? `${code}†` : code
  })
  return [...shown, ...(nested ? ['**`steps`**'] : [])].join(', ') || '–'
}
