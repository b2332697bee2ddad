import { Command } from 'commander'
import { EXIT } from '../runner/exit-code.ts'

/** `atp gc` */
export function gcCommand(): Command {
  return new Command('gc')
    .description('remove VMs that killed runs left behind')
    .option('-c, --config <file>', 'configuration file')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nOnly VMs that carry an owner mark of ATP are touched; those of runs that still live stay.')
    .action(async (options: { config?: string; json?: boolean }) => {
      const [{ loadConfig }, { connectCli }] = await Promise.all([import('../config/index.ts'), import('./connect.ts')])
      const config = await loadConfig(process.cwd(), options.config)
      await connectCli(config, async (broker) => {
        const result = await broker.sweep()
        if (options.json) process.stdout.write(`${JSON.stringify(result)}\n`)
        else {
          for (const vm of result.removed)
            process.stdout.write(`removed ${vm.name} on ${vm.host} (run ${vm.owner.run})\n`)
          process.stdout.write(`${result.removed.length} VMs removed\n`)
        }
        // What is still there must not look cleaned up.
        for (const { name, host, error } of result.failed) {
          process.stderr.write(`atp: ${name} on ${host} could not be removed: ${error}\n`)
        }
        if (result.failed.length > 0) process.exitCode = EXIT.infrastructure
      })
    })
}
