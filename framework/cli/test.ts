import { Command, InvalidArgumentError, Option } from 'commander'

function count(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError('give a whole number.')
  return Number(text)
}

/** `atp test` */
export function testCommand(): Command {
  return new Command('test')
    .description('run specs on real VMs')
    .argument('[filters...]', 'parts of file paths, or file:line')
    .option('-c, --config <file>', 'configuration file (default: atp.config.ts)')
    .option('-w, --watch', 'run again when specs change')
    .option('-t, --name <pattern>', 'only tests whose full name matches this regular expression')
    .option('--tags <expression>', 'only tests with these tags: smoke, "smoke and not slow"')
    .option('--retry <n>', 'further attempts of a failed test', count)
    .option('--bail <n>', 'stop after this many failed tests', count)
    .option('--workers <n>', 'worker processes', count)
    .option('--shard <i/n>', 'run only the i-th of n parts of the spec files')
    .addOption(
      new Option('--reporter <name>', 'what the terminal shows')
        .choices(['auto', 'plain', 'live', 'none'])
        .default('auto'),
    )
    .option('--json <file>', 'also write a JSON report')
    .option('--junit <file>', 'also write a JUnit report')
    .option('--no-allure', 'write no Allure results and report')
    .option('--evidence <mode>', 'off, on, or on-failure')
    .option('--update-screens', 'write the expected pictures of screens instead of comparing them')
    .option('--fail-on-flaky', 'a test that passed only after a retry fails the run')
    .option('--pass-with-no-tests', 'finding no test is no error')
    .addHelpText(
      'after',
      `
The lab starts by itself when the configuration names it, and its VMs end with the run.
Environment: ATP_LOG=debug or ATP_LOG=leases=debug,protocols=info prints logs; ATP_HOME moves the lab's files.`,
    )
    .action(async (filters: string[], options: Record<string, unknown>) => {
      // What a command needs is loaded when it runs: every other command starts without it.
      const [{ loadProject }, { runTests }] = await Promise.all([
        import('./load-project.ts'),
        import('../runner/run.ts'),
      ])
      const config = await loadProject(options['config'] as string | undefined)
      process.exitCode = await runTests(config, {
        filters,
        watch: options['watch'] === true,
        namePattern: options['name'] as string | undefined,
        tags: options['tags'] as string | undefined,
        retry: options['retry'] as number | undefined,
        bail: options['bail'] as number | undefined,
        workers: options['workers'] as number | undefined,
        shard: options['shard'] as string | undefined,
        reporter: options['reporter'] as 'auto' | 'plain' | 'live' | 'none',
        json: options['json'] as string | undefined,
        junit: options['junit'] as string | undefined,
        allure: options['allure'] !== false,
        evidence: options['evidence'] as string | undefined,
        updateScreens: options['updateScreens'] === true,
        failOnFlaky: options['failOnFlaky'] === true,
        passWithNoTests: options['passWithNoTests'] === true,
      })
    })
}
