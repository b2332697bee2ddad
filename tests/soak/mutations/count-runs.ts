/** Set-up of the campaign's test files: notes how often each property ran, for whoever started the campaign. */
import { appendFileSync } from 'node:fs'
import fc from 'fast-check'
import { expect } from 'vitest'

/** One property that ran, a line of JSON in the file `ATP_MUTATIONS_LOG`. */
export interface PropertyRun {
  file: string
  test: string
  runs: number
  /** Why it failed, with what makes it fail again. */
  failure?: string
  /** Most memory that the process has had so far. */
  maxRssBytes: number
}

fc.configureGlobal({
  // Of one asynchronous run: one that hangs is told with what makes it hang.
  timeout: 30_000,
  reporter(details) {
    const { testPath = '', currentTestName = '' } = expect.getState()
    const failure = details.failed ? fc.defaultReportMessage(details) : undefined
    const maxRssBytes = process.resourceUsage().maxRSS * 1024
    const run: PropertyRun = { file: testPath, test: currentTestName, runs: details.numRuns, failure, maxRssBytes }
    appendFileSync(process.env['ATP_MUTATIONS_LOG'] as string, `${JSON.stringify(run)}\n`)
    if (failure !== undefined) throw new Error(failure)
  },
})
