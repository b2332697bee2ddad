import { PROGRAM, QEMU, REMOTE } from './protocol-numbers.ts'

const NAMES = new Map([
  ...entries(PROGRAM.REMOTE, REMOTE),
  // The QEMU program's commands are known without their DOMAIN.
  ...entries(PROGRAM.QEMU, QEMU).map(([key, name]) => [key, name.replace(/^domain-/, '')] as const),
])

/** A procedure in words, for metrics: `domain-get-state`, `monitor-command`. */
export function operationOf(program: number, procedure: number): string {
  return NAMES.get(keyOf(program, procedure)) ?? `procedure-${procedure}`
}

function entries(program: number, procedures: Record<string, number>): (readonly [number, string])[] {
  return Object.entries(procedures).map(([name, procedure]) => [
    keyOf(program, procedure),
    name.toLowerCase().replaceAll('_', '-'),
  ])
}

/** One number for both: procedures are far below 2^16. */
function keyOf(program: number, procedure: number): number {
  return program * 0x1_0000 + procedure
}
