import { Command } from 'commander'

/** `atp scenario` */
export function scenarioCommand(): Command {
  const command = new Command('scenario').description('list, check, convert and run YAML and JSON specs')
  command
    .command('list')
    .description('list the scenarios of the project')
    .argument('[globs...]', 'files (default: the specs of the configuration)')
    .option('--tags <names>', 'only those with one of these tags, separated by commas')
    .option('--json', 'print JSON')
    .action(async (globs: string[], options) => (await import('./scenario-files.ts')).list(globs, options))
  command
    .command('validate')
    .description('check scenarios without running them; prints every problem with its place')
    .argument('[globs...]', 'files (default: the specs of the configuration)')
    .option('--lenient', 'unknown keys are notes instead of errors')
    .action(async (globs: string[], options) => (await import('./scenario-files.ts')).validate(globs, options))
  command
    .command('convert')
    .description('print a scenario of any dialect in canonical form')
    .argument('<file>', 'YAML or JSON file')
    .option('--write', 'replace the file')
    .action(async (file: string, options) => (await import('./scenario-files.ts')).convert(file, options))
  command
    .command('run')
    .description('run scenarios, as "atp test" does')
    .argument('<globs...>', 'files named *.spec.yaml, *.spec.yml or *.spec.json')
    .option('-c, --config <file>', 'configuration file')
    .action(async (globs: string[], options) => (await import('./scenario-files.ts')).run(globs, options))
  return command
}
