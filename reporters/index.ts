import { configError } from '../framework/core/index.ts'
import type { RunReporter } from '../framework/evidence/index.ts'
import { AllureReporter, type AllureReporterOptions } from './allure.ts'
import { JsonReporter, type JsonReporterOptions } from './json.ts'
import { JunitReporter, type JunitReporterOptions } from './junit.ts'
import { TerminalReporter, type TerminalReporterOptions } from './terminal.ts'

export * from './allure.ts'
export * from './allure-report.ts'
export * from './json.ts'
export * from './junit.ts'
export * from './terminal.ts'
export type { FooterLine } from './terminal-lines.ts'

/** Each reporter's name and what it needs to know. */
export interface ReporterOptions {
  terminal: TerminalReporterOptions
  junit: JunitReporterOptions
  json: JsonReporterOptions
  allure: AllureReporterOptions
}

const MAKE: { [Name in keyof ReporterOptions]: (options: ReporterOptions[Name]) => RunReporter } = {
  terminal: (options) => new TerminalReporter(options),
  junit: (options) => new JunitReporter(options),
  json: (options) => new JsonReporter(options),
  allure: (options) => new AllureReporter(options),
}

/** @throws `ATP_REPORTER_UNKNOWN` for a name that is not one of `terminal`, `junit`, `json`, `allure`. */
export function reporterByName<Name extends keyof ReporterOptions>(
  name: Name,
  options: ReporterOptions[Name],
): RunReporter {
  if (Object.hasOwn(MAKE, name)) return MAKE[name](options)
  throw configError('ATP_REPORTER_UNKNOWN', `there is no reporter called "${String(name)}"`, {
    remedy: `use one of ${Object.keys(MAKE).join(', ')}`,
  })
}
