import { Command } from 'commander'
/** `atp lab` */
export function labCommand(): Command {
  return new Command('lab').description('the embedded lab')
}
