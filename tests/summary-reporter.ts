import type { Reporter, TestModule } from 'vitest/node'

/**
 * Names every skipped test with its reason and every test that needed a second attempt with what failed the first,
 * and closes with the counts on one plain line.
 */
export default class SummaryReporter implements Reporter {
  onTestRunEnd(modules: ReadonlyArray<TestModule>): void {
    const counts = { passed: 0, failed: 0, skipped: 0, pending: 0 }
    for (const test of modules.flatMap((module) => [...module.children.allTests()])) {
      const result = test.result()
      counts[result.state]++
      const name = `${test.module.relativeModuleId} > ${test.fullName}`
      if (test.diagnostic()?.flaky) console.log(`flaky: ${name}: ${result.errors?.[0]?.message ?? 'no error was kept'}`)
      if (result.state === 'skipped') console.log(`skipped: ${name}: ${result.note ?? 'no reason given'}`)
    }
    counts.failed += modules.filter((module) => module.errors().length > 0).length + counts.pending
    console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`)
  }
}
