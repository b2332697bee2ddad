import { Command } from 'commander'

/** `atp doctor` */
export function doctorCommand(): Command {
  return new Command('doctor')
    .description('say what works here, what does not, and why')
    .option('-c, --config <file>', 'configuration file')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExit code 0 when specs can run, 3 when something keeps them from it.')
    .action(async (options) => (await import('./doctor-findings.ts')).examine(options))
}
