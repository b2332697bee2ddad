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

function pictures(text: string): number {
  if (/^[1-9]\d?$/.test(text) && Number(text) <= 60) return Number(text)
  throw new InvalidArgumentError('give a whole number from 1 to 60.')
}

/** `atp spice` */
export function spiceCommand(): Command {
  const command = new Command('spice')
    .description('SPICE consoles: what a server offers, and its screen for others to watch')
    .addHelpText(
      'after',
      `
A console is a VM of a configured host or of the lab, a VM of "spice.vms" of the hosts file, or an address. Its password
is taken from the VM's XML or, for an address, from SPICE_PASSWORD. A console has one client: another one that is
connected is thrown out.

Examples:
  npx atp spice info win10-07                             channels, capabilities, compressions
  npx atp spice info spice://127.0.0.1:5900 --try 1s --json
  npx atp spice stream win10-07 --hls public/win10-07     until Ctrl+C; needs ffmpeg
  npx atp spice stream win10-07 --rtsp rtsp://127.0.0.1:8554/win10-07 --for 10m`,
    )
  const sub = (name: string, description: string) =>
    command
      .command(name)
      .description(description)
      .argument('<console>', 'name of a VM, or an address such as spice://host:5900')
      .option('-c, --config <file>', 'configuration file')
      .option('--ca <file>', 'for an address over TLS: PEM file of the authorities to trust')
      .option('--json', 'print JSON')
  sub('info', 'what a server offers: channels, capabilities, compressions')
    .option('--try <time>', 'also ask for each compression, and count for so long what comes', duration)
    .action(async (console: string, options) => (await import('./spice-actions.ts')).info(console, options))
  sub('stream', 'stream the screen through ffmpeg')
    .addOption(new Option('--hls <folder>', 'to the playlist index.m3u8 of a folder').conflicts('rtsp'))
    .option('--rtsp <url>', 'to an RTSP server that takes streams')
    .option('--fps <n>', 'pictures a second (default: 10)', pictures)
    .option('--for <time>', 'how long (default: until it is interrupted)', duration)
    .action(async (console: string, options) => (await import('./spice-actions.ts')).stream(console, options))
  return command
}
