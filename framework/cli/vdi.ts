import { Command } from 'commander'

/** `atp vdi` */
export function vdiCommand(): Command {
  const command = new Command('vdi')
    .description('the VDI platform: what it has, and whether its hypervisors agree')
    .addHelpText(
      'after',
      `
The platform is "vdi" of atp.config.ts.

Examples:
  npx atp vdi hosts                                 hosts, and how each is reached
  npx atp vdi vms --json | jq '.[] | select(.status == "running (1)")'
  npx atp vdi pools                                 desk pools
  npx atp vdi verify                                compare the platform with libvirt`,
    )
  const sub = (name: string, description: string) =>
    command
      .command(name)
      .description(description)
      .option('-c, --config <file>', 'configuration file')
      .option('--json', 'print JSON')
  sub('hosts', 'list the hosts, and how each is reached').action(async (options) =>
    (await import('./vdi-lists.ts')).hosts(options),
  )
  sub('vms', 'list the VMs').action(async (options) => (await import('./vdi-lists.ts')).vms(options))
  sub('pools', 'list the desk pools').action(async (options) => (await import('./vdi-lists.ts')).pools(options))
  sub('verify', 'compare the platform with its hypervisors')
    .addHelpText(
      'after',
      `
Names VMs that only one side has, that are on another host, or in another state. Changes nothing. Exit code 0 when both
agree, 1 when they differ, 2 for a wrong configuration, 3 when the platform or a host cannot be reached.`,
    )
    .action(async (options) => (await import('./vdi-verify.ts')).verify(options))
  return command
}
