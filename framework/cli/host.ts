import { Command, InvalidArgumentError, Option } from 'commander'
import { parseDuration } from '../core/duration.ts'

/** Longest time a timer can hold. */
const LONGEST_MS = 2_147_483_647

function duration(text: string): number {
  try {
    const ms = parseDuration(text, 's')
    if (ms > 0 && ms <= LONGEST_MS) return ms
  } catch {
    // Said in the words of the command line.
  }
  throw new InvalidArgumentError('give a time such as 5s or 1m30s.')
}

function count(text: string): number {
  if (!/^[1-9]\d*$/.test(text)) throw new InvalidArgumentError('give a whole number from 1.')
  return Number(text)
}

/** `atp host` */
export function hostCommand(): Command {
  const command = new Command('host')
    .description('hypervisor hosts: store them, and see what works on them')
    .addHelpText(
      'after',
      `
Hosts are those of atp.config.ts, of the hosts file (hosts.yaml beside it), and the lab's.

Examples:
  npx atp host add kvm-1 --host 192.168.1.10              by ssh as the present user
  npx atp host add kvm-2 --uri qemu+ssh://root@kvm-2:2222/system --check
  npx atp host add kvm-3 --uri qemu+tls://kvm-3.example/system --tls-ca pki/cacert.pem
  npx atp host check                                      examine all of them
  npx atp host check kvm-1 --json | jq '.[].findings'`,
    )
  command
    .command('add')
    .description('store a host in the hosts file')
    .argument('<id>', 'short name for filters, locks and reports')
    .addOption(new Option('--host <address>', 'name or address; reached by ssh').conflicts('uri'))
    .option('--uri <uri>', 'libvirt URI: qemu:///system, qemu+ssh://user@host/system, qemu+tls://host/system')
    .option('--capacity <n>', 'leased VMs it carries at once (default: 4)', count)
    .option('--label <label...>', 'labels')
    .option('--tls-ca <file>', 'PEM file of the authorities to trust')
    .option('--tls-cert <file>', 'PEM file of the client certificate')
    .option('--tls-key <file>', 'PEM file of its key')
    .option('--check', 'examine the host first, and store it only if nothing is bad')
    .option('-c, --config <file>', 'configuration file')
    .addHelpText(
      'after',
      `
A relative PEM file is stored as a path from the hosts file. Passwords, connection settings and URI parameters that
must be allowed are written into the file by hand; comments in it stay.`,
    )
    .action(async (id: string, options) => (await import('./host-store.ts')).add(id, options))
  command
    .command('list')
    .description('all hosts, and where they come from')
    .option('-c, --config <file>', 'configuration file')
    .option('--json', 'print JSON')
    .action(async (options) => (await import('./host-store.ts')).list(options))
  command
    .command('remove')
    .description('remove a host from the hosts file')
    .argument('<id>', 'which one')
    .option('-c, --config <file>', 'configuration file')
    .action(async (id: string, options) => (await import('./host-store.ts')).remove(id, options))
  command
    .command('check')
    .description('examine hosts: what works, what does not, and why')
    .argument('[ids...]', "which ones (default: all that are configured or stored, and the lab's that are up)")
    .option('-c, --config <file>', 'configuration file')
    .option('--json', 'print JSON')
    .option('--timeout <time>', 'longest time for each host, such as 5s; whoever takes longer is bad', duration)
    .addHelpText(
      'after',
      `
Looks at name and port, ssh or certificate, authentication, versions, permissions, KVM, guest agents, SPICE ports and
latency; changes nothing. Exit code 0, or 3 when something is bad.`,
    )
    .action(async (ids: string[], options) => (await import('./host-check-action.ts')).check(ids, options))
  return command
}
