import type { ResolvedConfig } from '../config/index.ts'
import type { RunReporter } from '../evidence/events.ts'
import { AllureReporter, JsonReporter, JunitReporter, TerminalReporter } from '../../reporters/index.ts'

export type ReporterChoice = 'auto' | 'plain' | 'live' | 'none'

export interface OpenReporters {
  /** In closing order: the terminal last, since it names the files of the others. */
  all: RunReporter[]
  /** What the Allure report says about the quality gate; asked after closing. */
  gate(): { failed: boolean; rules: string[] }
}

/** The reporters that write files, as the configuration asks for them. */
export function fileReporters(config: ResolvedConfig): {
  reporters: RunReporter[]
  allure: AllureReporter | undefined
} {
  const { allure, junit, json } = config.report
  const allureReporter =
    allure &&
    new AllureReporter({
      resultsDir: allure.results,
      reportDir: allure.report,
      historyPath: allure.history,
      qualityGate: allure.qualityGate,
    })
  return {
    reporters: [
      ...(allureReporter ? [allureReporter] : []),
      ...(junit ? [new JunitReporter({ outputFile: junit })] : []),
      ...(json ? [new JsonReporter({ outputFile: json })] : []),
    ],
    allure: allureReporter,
  }
}

/** All reporters of `atp test`. */
export function openReporters(config: ResolvedConfig, choice: ReporterChoice): OpenReporters {
  const files = fileReporters(config)
  const footer = () => [
    ...(files.allure?.report ? [{ label: 'Allure report', text: files.allure.report.path }] : []),
    ...(config.report.junit ? [{ label: 'JUnit', text: config.report.junit }] : []),
    ...(config.report.json ? [{ label: 'JSON', text: config.report.json }] : []),
  ]
  const terminal =
    choice === 'none'
      ? []
      : [new TerminalReporter({ footer, ...(choice === 'auto' ? {} : { live: choice === 'live' }) })]
  return {
    all: [...files.reporters, ...terminal],
    gate() {
      const gate = files.allure?.report?.gate
      return {
        failed: gate?.passed === false,
        rules: gate?.rules.filter((rule) => !rule.passed).map((rule) => rule.message) ?? [],
      }
    },
  }
}
