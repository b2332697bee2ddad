import type { Scenario, Step } from './model/index.ts'

const located = new WeakSet<Error>()

/** Makes the place in the scenario file the first frame of an error's stack, once. */
export function locate(error: unknown, title: string, step: Step, { file }: Scenario): void {
  if (!(error instanceof Error) || located.has(error)) return
  located.add(error)
  const head = `${error.name}: ${error.message}`
  const stack = error.stack ?? head
  const frames = stack.startsWith(head)
    ? stack.slice(head.length)
    : stack.slice(Math.max(0, stack.indexOf('\n    at ')))
  const place = `${title.replaceAll(/[()\n]/g, ' ')} (${file}:${step.at.line}:${step.at.column})`
  error.stack = `${head}\n    at ${place}\n${frames.replace(/^\n/, '')}`
}
