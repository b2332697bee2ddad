import { mkdir, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import type { AllureReport as Generator, resolveConfig as ResolveConfig } from '@allurereport/core'
import { configError, internalError, isAtpError, messageOf } from '../framework/core/index.ts'
import type { RunMetrics } from './allure-metrics.ts'

/** A limit on one metric. Structurally the configuration's quality gate rule. */
export interface MetricLimit {
  /** Metric key, e.g. `key-to-guest.kernel.qmp-ps2.p95`. */
  metric: string
  max?: number
  min?: number
}

export interface GenerateReportOptions {
  resultsDir: string
  /** Replaced as a whole once the new report is complete. */
  reportDir: string
  /** Carries results and metrics from run to run. Without it the report has no trend. */
  historyPath?: string
  name: string
  /** How the metrics in the results are titled and grouped. */
  metrics: Pick<RunMetrics, 'metrics' | 'groups'>
  qualityGate: readonly MetricLimit[]
}

export interface AllureReport {
  /** The page to open; it needs no server and no network. */
  path: string
  gate: GateResult
}

export interface GateResult {
  passed: boolean
  /** One line a rule, met or broken. */
  rules: { passed: boolean; message: string }[]
}

type RuleOutcome = Awaited<ReturnType<Generator['validate']>>['results'][number]

const HISTORY_RUNS = 100

/**
 * Makes the HTML report: one page that opens offline, with trends, metrics and the quality gate's outcome, and
 * without the analytics its generator puts in. The run is added to the history once.
 *
 * @throws `ATP_ALLURE_REPORT` when it could not be made; an earlier report stays in place then.
 * `ATP_ALLURE_DIRECTORY` when the directory holds something that is no report.
 */
export async function generateReport(options: GenerateReportOptions): Promise<AllureReport> {
  const reportDir = resolve(options.reportDir)
  const partial = `${reportDir}.${process.pid}.partial`
  await assertReplaceable(reportDir)
  try {
    const gate = await generateInto(partial, options)
    await strip(partial)
    await mkdir(dirname(reportDir), { recursive: true })
    await rm(reportDir, { recursive: true, force: true })
    await rename(partial, reportDir)
    return { path: join(reportDir, 'index.html'), gate }
  } catch (cause) {
    if (isAtpError(cause)) throw cause
    throw internalError(
      'ATP_ALLURE_REPORT',
      `the Allure report could not be made in ${reportDir}: ${messageOf(cause)}`,
      {
        cause,
        context: { reportDir, resultsDir: options.resultsDir },
        remedy: `the results are complete: try "npx allure generate ${options.resultsDir}"`,
      },
    )
  } finally {
    await rm(partial, { recursive: true, force: true })
  }
}

/** Only what was made here is replaced: a report, or an empty directory. */
async function assertReplaceable(reportDir: string): Promise<void> {
  const names = await readdir(reportDir).catch((error: NodeJS.ErrnoException): string[] => {
    if (error.code === 'ENOENT') return []
    throw notReplaceable(reportDir, messageOf(error))
  })
  if (names.length > 0 && !(names.includes('index.html') && names.includes('summary.json'))) {
    throw notReplaceable(reportDir, 'it holds files of something else')
  }
}

function notReplaceable(reportDir: string, why: string): Error {
  return configError('ATP_ALLURE_DIRECTORY', `the Allure report cannot replace ${reportDir}: ${why}`, {
    context: { reportDir },
    remedy: 'name a directory of its own under "report.allure.report" in the configuration',
  })
}

async function generateInto(output: string, options: GenerateReportOptions): Promise<GateResult> {
  // Loaded when a report is due: it takes longer to load than a short run to execute.
  const { AllureReport, resolveConfig } = await import('@allurereport/core')
  const rules = options.qualityGate.flatMap(({ metric, max, min }) => [
    ...(max === undefined ? [] : [{ id: `${metric} max`, metricMax: { key: metric, value: max } }]),
    ...(min === undefined ? [] : [{ id: `${metric} min`, metricMin: { key: metric, value: min } }]),
  ])
  const config: Parameters<typeof ResolveConfig>[0] = {
    name: options.name,
    output,
    historyLimit: HISTORY_RUNS,
    ...(options.historyPath === undefined ? {} : { historyPath: options.historyPath }),
    ...(rules.length > 0 ? { qualityGate: { rules } } : {}),
    performance: { groups: options.metrics.groups, metrics: options.metrics.metrics },
    categories: VERDICT_CATEGORIES,
    plugins: {
      awesome: {
        options: {
          reportName: options.name,
          singleFile: true,
          groupBy: ['parentSuite', 'suite', 'subSuite'],
          charts: CHARTS,
        },
      },
    },
  }
  const report = new AllureReport(await resolveConfig(config))
  await report.start()
  await report.readDirectory(options.resultsDir)
  const gate: GateResult = { passed: true, rules: [] }
  if (report.hasQualityGate) {
    const { results } = await report.validate({ trs: await report.store.allTestResults({ includeRetries: false }) })
    // The generator's own sentences speak of "[object Object]" where a metric is within its limit.
    const judged = results.map((result) => ({ ...result, message: gateMessage(result) }))
    report.realtimeDispatcher.sendQualityGateResults(judged)
    gate.rules = judged.map(({ success, message }) => ({ passed: success, message }))
    gate.passed = gate.rules.every(({ passed }) => passed)
  }
  await report.done()
  return gate
}

/** `key-to-guest.kernel.qmp-ps2.p95: 4.1 ms, allowed at most 20` */
function gateMessage({ rule, actual, expected }: RuleOutcome): string {
  const { key, value, unit = '' } = actual as { key: string; value: number; unit?: string }
  const limit = `allowed ${rule.endsWith('metricMin') ? 'at least' : 'at most'} ${(expected as { value: number }).value}`
  return Number.isFinite(value) ? `${key}: ${value} ${unit}, ${limit}` : `${key}: this run did not measure it, ${limit}`
}

/** Those that have something to say about runs on VMs; the generator's own choice is mostly empty. */
const CHARTS = [
  { type: 'currentStatus', title: 'This run' },
  { type: 'statusDynamics', title: 'Results over runs' },
  { type: 'durations', title: 'Durations', groupBy: 'none' },
  { type: 'durationDynamics', title: 'Durations over runs' },
  { type: 'statusTransitions', title: 'Tests that changed' },
]

const VERDICT_CATEGORIES = [
  { name: 'Product', matchers: { labels: { verdict: 'product' } } },
  { name: 'Infrastructure', matchers: { labels: { verdict: 'infrastructure' } } },
  { name: 'Spec', matchers: { labels: { verdict: 'spec' } } },
  { name: 'Framework', matchers: { labels: { verdict: 'framework' } } },
]

const ANALYTICS =
  /<script[^>]*\ssrc="https:\/\/www\.googletagmanager\.com\/[^"]*"[^>]*>\s*<\/script>\s*(?:<script>\s*window\.dataLayer\b[^]*?<\/script>)?/g
/** Inline scripts hold the report's data, in which any markup may occur. */
const SCRIPT_BODY = /(<script\b[^>]*>)[^]*?<\/script>/g
const EXTERNAL_LOAD = /<(?:script|link|img|iframe)\b[^>]*\s(?:src|href)="(?:https?:)?\/\/[^"]*"/g

/** Takes the analytics out of every page, and refuses a page that would load anything else from elsewhere. */
async function strip(directory: string): Promise<void> {
  const pages = (await readdir(directory, { recursive: true })).filter((name) => name.endsWith('.html'))
  if (!pages.includes('index.html')) throw new Error('the generator wrote no index.html')
  for (const page of pages) {
    const path = join(directory, page)
    const html = (await readFile(path, 'utf8')).replace(ANALYTICS, '')
    const external = html.replace(SCRIPT_BODY, '$1').match(EXTERNAL_LOAD) ?? []
    if (external.length > 0) throw new Error(`${page} would load ${external.join(', ')}`)
    await writeFile(path, html)
  }
}
