import { Command, InvalidArgumentError } from 'commander'

/** `host:port`, or a port of this machine alone. */
function address(text: string): { host: string; port: number } {
  const [, host = '127.0.0.1', port] = /^(?:\[?(.+?)\]?:)?(\d{1,5})$/.exec(text) ?? []
  if (port !== undefined && Number(port) <= 65_535) return { host, port: Number(port) }
  throw new InvalidArgumentError('give a port or host:port; port 0 takes any free one.')
}

/** `atp verifier` */
export function verifierCommand(): Command {
  const command = new Command('verifier').description('verifier agents in guests').addHelpText(
    'after',
    `
Examples:
  npx atp verifier serve                                a token is made and printed; agents connect to this machine
  npx atp verifier serve --websocket 0.0.0.0:8765 --cert server.crt --key server.key --token-file token
  npx atp verifier serve --tcp 8766 --json              one JSON object a line`,
  )
  command
    .command('serve')
    .description('accept agents and list them, to try a deployment, until Ctrl-C')
    .option('--websocket <address>', 'where WebSockets are accepted (default: 8765 unless --tcp is given)', address)
    .option('--tcp <address>', 'where TCP connections are accepted', address)
    .option('--token-file <file>', 'file with the token agents must show (default: one is made)')
    .option('--cert <file>', 'PEM file of a certificate, for TLS')
    .option('--key <file>', 'PEM file of its key')
    .option('--allow-plain', 'without TLS also where others can connect')
    .option('--json', 'print JSON')
    .action(async (options) => (await import('./verifier-serve.ts')).serve(options))
  return command
}
