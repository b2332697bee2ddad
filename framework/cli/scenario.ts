import { Command } from 'commander'

/** `atp scenario` */
export function scenarioCommand(): Command {
  return new Command('scenario').description('check and convert YAML and JSON specs')
}
