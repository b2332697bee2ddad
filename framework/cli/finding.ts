/** One thing that was looked at. */
export interface Finding {
  /** `bad` keeps specs from running; `warn` makes them slower or less telling. */
  state: 'ok' | 'warn' | 'bad'
  what: string
  detail: string
  /** Code of the error behind it, see docs/errors.md. */
  code?: string
  /** What the reader can do about it. */
  remedy?: string
}

/** A finding as a line or two of text. */
export function printFinding({ state, what, detail, code, remedy }: Finding, indent = ''): string {
  // Names of VMs and certificates are other people's: they could hold sequences for the reader's terminal.
  const text = detail.replaceAll(/(?!\n)\p{Cc}/gu, '')
  const tail = `${text.replaceAll('\n', `\n${indent}      `)}${code ? ` [${code}]` : ''}`
  return `${indent}${state.padEnd(5)} ${what}: ${tail}\n${remedy ? `${indent}      → ${remedy}\n` : ''}`
}

/** The worst of them; `ok` where there are none. */
export function worst(findings: readonly Finding[]): Finding['state'] {
  const order = ['ok', 'warn', 'bad'] as const
  return order[Math.max(0, ...findings.map(({ state }) => order.indexOf(state)))] as Finding['state']
}
