import { stripVTControlCharacters, styleText } from 'node:util'
import {
  type AttemptView,
  type ErrorRecord,
  type RunModel,
  type RunSummary,
  type TestView,
  allEvidence,
  allSteps,
  causeChain,
  describeCounts,
  describeLatency,
  fitWidth,
  lastAttempt,
  kindName,
  latencyByPath,
  padWidth,
  pathName,
  statusOf,
  titleOf,
  verdictOfTest,
  withoutLatency,
} from '../framework/evidence/index.ts'
import { errorHeadline, placeText } from './error-text.ts'

/** Colours a text, or leaves it as it is. */
export type Paint = (format: Parameters<typeof styleText>[0], text: string) => string

/** The painter for a stream: plain where the stream is no terminal or NO_COLOR is set. */
export function painter(stream: NodeJS.WritableStream): Paint {
  return (format, text) => styleText(format, text, { stream, validateStream: true })
}

/** `1.24 s`, `2 m 05 s` */
function durationText(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`
  if (ms < 60_000) return `${(ms / 1000).toFixed(2)} s`
  return `${Math.floor(ms / 60_000)} m ${String(Math.floor((ms % 60_000) / 1000)).padStart(2, '0')} s`
}

/** Guests and peers write messages too: nothing of theirs may move the cursor. */
function safe(text: string): string {
  // oxlint-disable-next-line no-control-regex
  return stripVTControlCharacters(text).replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '')
}

function oneLine(text: string): string {
  return safe(text).replace(/\s*\n\s*/g, ' ')
}

/** `specs/a.spec.ts › 输入 › 文本完整到达` */
function fullTitle(test: TestView): string {
  return oneLine([test.file, titleOf(test)].filter(Boolean).join(' › '))
}

/** A test of fifty desktops is still a line. */
const MOST_VMS = 4

function vmsText({ vms }: AttemptView): string {
  const shown = vms.slice(0, MOST_VMS).map(({ name, host }) => `${name}@${host}`)
  const others = vms.length - shown.length
  return [...shown, ...(others > 0 ? [`and ${others} more`] : [])].join(' ')
}

/** The line of an attempt that has ended. Failures get more: {@link failureLines}. */
export function attemptLine(test: TestView, attempt: AttemptView, paint: Paint): string {
  const { end } = attempt
  const details = [durationText(end?.durationMs ?? 0), vmsText(attempt)].filter(Boolean).join('  ')
  const title = fullTitle(test)
  const badges = [
    ...((end?.unverified ?? 0) > 0 ? [paint('yellow', `unverified: ${end?.unverified}`)] : []),
    ...(end?.flaky ? [paint('yellow', `flaky: passed at attempt ${attempt.attempt}`)] : []),
  ].map((badge) => `  ${badge}`)
  switch (statusOf(attempt)) {
    case 'passed': {
      const mark = badges.length > 0 ? paint('yellow', '✓') : paint('green', '✓')
      return `${mark} ${title}  ${paint('dim', details)}${badges.join('')}`
    }
    case 'skipped':
      return `${paint('cyan', '↓')} ${title}  ${paint('dim', `skipped: ${oneLine(end?.reason ?? 'no reason given')}`)}`
    case 'pending':
      return `${paint('cyan', '·')} ${title}  ${paint('dim', `never ran: ${oneLine(end?.reason ?? 'no reason given')}`)}`
    default: {
      const again = end?.willRetry ? paint('yellow', `  attempt ${attempt.attempt}, trying again`) : ''
      const issue = test.meta['knownIssue']
      const known = issue === undefined ? '' : paint('yellow', `  known issue: ${String(issue)}`)
      return `${paint('red', '✗')} ${title}  ${paint('dim', details)}${again}${known}`
    }
  }
}

/** Why an attempt failed: verdict, errors with code frame, what input was damaged, where the evidence is. */
export function failureLines(attempt: AttemptView, paint: Paint): string[] {
  const { end } = attempt
  if (!end) return []
  const verdict = end.verdict ?? end.errors[0]?.verdict ?? 'framework'
  const lines = [`${paint('bold', end.status)}, verdict: ${paint(verdict === 'product' ? 'red' : 'magenta', verdict)}`]
  const failedStep = [...allSteps(attempt.steps)].findLast((step) => step.end?.error ?? step.end === undefined)
  if (failedStep) lines.push(`in step: ${oneLine(failedStep.start.title)}`)
  for (const error of end.errors) lines.push('', ...errorLines(error, paint))
  if (end.errors.length === 0 && end.reason) lines.push(oneLine(end.reason))
  const evidence = allEvidence(attempt)
  for (const { vm, delivery } of evidence.inputs.filter(({ delivery: { outcome } }) => outcome === 'damaged')) {
    lines.push(
      '',
      `${paint('red', 'damaged input')} ${delivery.action} ${JSON.stringify(delivery.input)} on ${vm} over ${pathName(delivery.path)}: ` +
        `${delivery.sent} sent, ${delivery.seen} seen, ${delivery.lost} lost, ${delivery.duplicated} duplicated, ${delivery.reordered} reordered`,
      ...delivery.differences.slice(0, 5).map((difference) => `  ${oneLine(difference)}`),
    )
  }
  const files = evidence.attachments.filter(({ path }) => path !== undefined)
  if (files.length > 0) lines.push('', 'evidence')
  for (const { name, path } of files) lines.push(`  ${oneLine(name)}: ${path}`)
  return [...lines.map((line) => (line ? `    ${line}` : '')), '']
}

function errorLines(error: ErrorRecord, paint: Paint): string[] {
  return causeChain(error).flatMap((link, depth) => {
    const [headline, ...rest] = safe(errorHeadline(link)).split('\n') as [string, ...string[]]
    const lines = [depth === 0 ? paint('red', headline) : paint('dim', `caused by ${headline}`), ...rest]
    if (link.location) lines.push(paint('cyan', `at ${placeText(link.location)}`))
    if (link.codeFrame) {
      const frame = safe(link.codeFrame).split('\n')
      lines.push(...frame.map((line) => `  ${line.startsWith('>') ? paint('bold', line) : paint('dim', line)}`))
    }
    if (!link.location) {
      const frames = link.stack?.split('\n').filter((line) => /^\s+at /.test(line)) ?? []
      lines.push(...frames.slice(0, 3).map((frame) => paint('dim', `  ${oneLine(frame.trim())}`)))
    }
    if (link.expected !== undefined && depth === 0) {
      lines.push(
        `expected ${paint('green', oneLine(link.expected))}`,
        `actual   ${paint('red', oneLine(link.actual ?? ''))}`,
      )
    }
    return lines
  })
}

/** The block at the foot of a live terminal: hosts, running tests with VM and step, counts. */
export function liveLines(
  model: RunModel,
  summary: RunSummary,
  now: number,
  size: { columns: number; rows: number },
  paint: Paint,
): string[] {
  const width = size.columns - 1
  const running = [...model.tests.values()].filter((test) => test.attempts.at(-1)?.end === undefined)
  const room = Math.max(1, Math.min(12, size.rows - 4))
  const shown = running.slice(0, running.length > room ? room - 1 : room)
  const known = [...model.hosts.values()]
  const hosts = known.map(({ host, state, leased, capacity }) =>
    state === 'down' ? `${host} down` : `${host} ${leased ?? 0}/${capacity ?? '?'}`,
  )
  const hostsLine = fitWidth(`  hosts  ${hosts.join('  ') || 'none yet'}`, width)
  const lines = shown.map((test) => runningLine(test, now, width, paint))
  if (running.length > shown.length) lines.push(paint('dim', `  … and ${running.length - shown.length} more running`))
  lines.push(known.some(({ state }) => state === 'down') ? paint('red', hostsLine) : hostsLine)
  const done = Object.entries(countWords(summary)).filter(([, count]) => count > 0)
  const total = model.plan?.tests
  const ended = summary.tests - running.length
  const elapsed = durationText(now - (model.run?.time ?? now))
  lines.push(
    fitWidth(
      `  tests  ${ended}${total === undefined ? '' : `/${total}`}  ${done.map(([word, count]) => `${count} ${word}`).join('  ')}  ${elapsed}`,
      width,
    ),
  )
  return lines
}

function runningLine(test: TestView, now: number, width: number, paint: Paint): string {
  const attempt = test.attempts.at(-1) as AttemptView
  const step = [...allSteps(attempt.steps)].findLast(({ end }) => end === undefined)
  const state = step ? oneLine(step.start.title) : attempt.lease === 'waiting' ? 'waiting for a VM' : ''
  const right = [vmsText(attempt), durationText(now - attempt.startTime)].filter(Boolean).join('  ')
  const left = `  ▸ ${fullTitle(test)}${attempt.attempt > 1 ? ` (attempt ${attempt.attempt})` : ''}${state ? `  ${state}` : ''}`
  const room = Math.max(10, width - right.length - 2)
  return fitWidth(`${padWidth(left, room)}  `, width - right.length) + paint('dim', right)
}

function countWords({ counts, flaky, unverifiedTests }: RunSummary): Record<string, number> {
  const { passed, failed, broken, skipped } = counts
  return { passed, failed, broken, skipped, flaky, unverified: unverifiedTests }
}

/** `{ label: 'Report', text: 'allure-report/index.html' }` */
export interface FooterLine {
  label: string
  text: string
}

/** What the run came to. Nothing that went wrong is left out, whatever the counts of tests say. */
export function summaryLines(
  model: RunModel,
  summary: RunSummary,
  footer: readonly FooterLine[],
  paint: Paint,
): string[] {
  const { counts, verdicts, inputs } = summary
  const cutOff = [...model.tests.values()].filter((test) => lastAttempt(test).end === undefined).length
  const neverRan = counts.pending - cutOff
  const tests = [
    counts.failed > 0 && paint('red', `${counts.failed} failed`),
    counts.broken > 0 && paint('red', `${counts.broken} broken`),
    counts.passed > 0 && paint('green', `${counts.passed} passed`),
    summary.flaky > 0 && paint('yellow', `${summary.flaky} flaky`),
    summary.unverifiedTests > 0 && paint('yellow', `${summary.unverifiedTests} passed with unverified input`),
    counts.skipped > 0 && paint('cyan', `${counts.skipped} skipped`),
    cutOff > 0 && paint('red', `${cutOff} cut off`),
    neverRan > 0 && paint('cyan', `${neverRan} never ran`),
  ].filter(Boolean)
  const lines: [label: string, text: string][] = [
    ['Files', String(summary.files)],
    ['Tests', `${tests.join(', ') || paint('yellow', 'none')} (${summary.tests})`],
  ]
  const faults = Object.entries(verdicts).filter(([, count]) => count > 0)
  if (faults.length > 0) lines.push(['Verdicts', faults.map(([verdict, count]) => `${verdict} ${count}`).join(', ')])
  if (inputs.actions > 0) {
    const damaged = inputs.damaged > 0 ? paint('red', `${inputs.damaged} damaged`) : undefined
    const unverified = inputs.unverified > 0 ? paint('yellow', `${inputs.unverified} unverified`) : undefined
    const outcome = [`${inputs.delivered} delivered`, damaged, unverified].filter(Boolean).join(', ')
    lines.push(['Input', `${outcome}; ${inputs.sent} events sent, ${inputs.lost} lost, ${inputs.reordered} reordered`])
  }
  const deliveries = [...model.tests.values()].flatMap(
    (test) => allEvidence(test.attempts.at(-1) as AttemptView).inputs,
  )
  const measured = deliveries.map(({ delivery }) => delivery)
  for (const latency of latencyByPath(measured)) {
    lines.push(['Latency', `${kindName(latency)}: ${describeLatency(latency)}`])
  }
  for (const counts of withoutLatency(measured)) {
    lines.push(['Latency', `${kindName(counts)}: ${paint('yellow', 'none')} (${describeCounts(counts)})`])
  }
  if (summary.leaked > 0)
    lines.push(['Leaked', paint('red', `${summary.leaked} ${summary.leaked === 1 ? 'VM' : 'VMs'} had to be swept`)])
  lines.push(['Duration', durationText(summary.durationMs)])
  for (const { label, text } of footer) lines.push([label, text])
  const red = [...model.tests.values()].filter((test) => ['failed', 'broken'].includes(statusOf(lastAttempt(test))))
  const list = red
    .slice(0, 20)
    .map((test) => `${paint('red', '✗')} ${fullTitle(test)}  ${paint('dim', verdictOfTest(test) ?? '')}`)
  if (red.length > list.length) list.push(paint('dim', `  … and ${red.length - list.length} more`))
  const outside = (model.end?.errors ?? []).flatMap((error) => [
    '',
    paint('red', 'Error outside of tests'),
    ...errorLines(error, paint),
  ])
  return [
    ...outside,
    '',
    ...list,
    ...(list.length > 0 ? [''] : []),
    ...lines.map(([label, text]) => `${paint('dim', label.padStart(10))}  ${text}`),
    '',
  ]
}
