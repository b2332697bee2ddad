import { Command } from 'commander'
/** `atp doctor` */
export function doctorCommand(): Command {
  return new Command('doctor').description('say what works here, what does not, and why')
}
