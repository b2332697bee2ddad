import type { EncodingReport } from './encoding-report.ts'

/** The rows of a report, for people: what, and what the server says of it. */
export function encodingRows(report: EncodingReport): [what: string, says: string][] {
  const { vm, channels, images, frames, choice, tried, mouseModes, agentConnected } = report
  const choices = [choice.compression && 'compression', choice.codec && 'video codec'].filter(Boolean)
  return [
    ['server', report.server],
    ['vm', [vm.name, vm.uuid].filter(Boolean).join(' ') || 'not told'],
    ['mouse modes', mouseModes.join(', ')],
    ['agent', agentConnected ? 'connected' : 'not connected'],
    ...channels.map(({ type, id, capabilities, linkMs, error }): [string, string] => [
      id === 0 ? type : `${type} ${id}`,
      error ? `not opened: ${error.message.replaceAll(/\s*\n\s*/g, ' ')}` : offers(capabilities, linkMs),
    ]),
    ['clients choose', choices.join(', ') || 'nothing'],
    ['images so far', counted(images)],
    ['video frames so far', counted(frames)],
    ...tried.map((one): [string, string] => [`asked for ${one.compression}`, counted(one.images)]),
  ]
}

function offers(capabilities: readonly string[], linkMs: number | undefined): string {
  const time = linkMs === undefined ? '' : ` (linked in ${linkMs.toFixed(1)} ms)`
  return `${capabilities.join(', ') || 'no capabilities'}${time}`
}

function counted(counts: Record<string, number>): string {
  return (
    Object.entries(counts)
      .map(([name, count]) => `${name} ${count}`)
      .join(', ') || 'none'
  )
}
