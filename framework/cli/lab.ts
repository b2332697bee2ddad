import { Command, InvalidArgumentError } from 'commander'

function count(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError('give a whole number.')
  return Number(text)
}

function port(text: string): number {
  const number = count(text)
  if (number < 1 || number > 65_535) throw new InvalidArgumentError('give a number from 1 to 65535.')
  return number
}

/** `atp lab` */
export function labCommand(): Command {
  const command = new Command('lab')
    .description('the embedded lab: real VMs on this machine')
    .addHelpText('after', '\n"atp test" starts the lab by itself; "up" keeps it, with VMs ready, between runs.')
  command
    .command('up')
    .description('build what is missing, start the hosts, keep standby VMs ready until "down"')
    .option('-c, --config <file>', 'configuration file')
    .option('--standbys <n>', 'VMs kept ready on each host', count, 1)
    .option('--profile <name...>', "machine profiles of the standbys (default: the lab's)")
    .action(async (options) => (await import('./lab-actions.ts')).up(options))
  command
    .command('down')
    .description('destroy all VMs of the lab and stop its hosts; the image cache stays')
    .action(async () => (await import('./lab-actions.ts')).down())
  command
    .command('status')
    .description('hosts, VMs, leases and versions')
    .option('--json', 'print JSON')
    .action(async (options) => (await import('./lab-actions.ts')).status(options))
  command
    .command('logs')
    .description("where the hosts' logs are, and how they end")
    .action(async () => (await import('./lab-actions.ts')).logs())
  command
    .command('platform')
    .description('a stand-in for an OCloudView platform, with VMs of the lab behind it, until Ctrl-C')
    .option('--port <n>', 'port on this machine (default: any free one)', port)
    .option('--hosts <n>', 'hosts of the platform', count)
    .option('--database <file>', "where it keeps its state (default: in the lab's home)")
    .option('--memory', 'without real VMs')
    .option('--json', 'print JSON')
    .action(async (options) => (await import('./lab-platform.ts')).platform(options))
  command
    .command('install')
    .description('install the Debian packages the lab needs (as root, or with sudo that asks no password)')
    .argument('[packages...]', 'further packages to install with them')
    .action(async (packages: string[]) => (await import('./lab-actions.ts')).install(packages))
  return command
}
