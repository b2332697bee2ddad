import { Command, CommanderError } from 'commander'
import { configureLogging, isAtpError, messageOf, redact, packageVersion } from '../core/index.ts'
import { EXIT, isUsageError } from '../runner/exit-code.ts'
import { completionCommand } from './completion.ts'
import { configCommand } from './config.ts'
import { doctorCommand } from './doctor.ts'
import { gcCommand } from './gc.ts'
import { hostCommand } from './host.ts'
import { labCommand } from './lab.ts'
import { scenarioCommand } from './scenario.ts'
import { spiceCommand } from './spice.ts'
import { testCommand } from './test.ts'
import { vdiCommand } from './vdi.ts'
import { verifierCommand } from './verifier.ts'

/** The whole command tree. */
export function createProgram(): Command {
  const program = new Command('atp')
    .description('Vitest for virtual desktops: specs that drive real VMs.')
    .version(packageVersion(), '-V, --version')
    .addHelpText(
      'after',
      `
Examples:
  npx atp test                          run all specs
  npx atp test specs/typing.spec.ts:12  run the test at a line
  npx atp test --tags smoke --watch     run tagged specs again on every change
  npx atp lab up --standbys 2           keep the lab ready between runs
  npx atp host check                    examine the hypervisor hosts
  npx atp gc                            remove what a killed run left behind

Exit codes of "atp test": 0 passed, 1 tests failed, 2 usage or configuration (also: no tests found),
3 infrastructure broken, 130 or 143 interrupted.
The npm package "atp" is somebody else's: install @ocloudview/atp, then "npx atp" runs this program.`,
    )
  for (const command of [
    testCommand(),
    scenarioCommand(),
    labCommand(),
    hostCommand(),
    spiceCommand(),
    vdiCommand(),
    verifierCommand(),
    gcCommand(),
    doctorCommand(),
    configCommand(),
    completionCommand(program),
  ]) {
    program.addCommand(command)
  }
  strict(program)
  return program
}

/** Commander hands these settings to no sub-command that was made apart. */
function strict(command: Command): void {
  command.exitOverride().showHelpAfterError('(run with --help for usage)')
  for (const sub of command.commands) strict(sub)
}

/** Prints an error as one clear message; stacks only where the framework itself is at fault. */
export function printError(error: unknown): void {
  if (isAtpError(error)) {
    process.stderr.write(redact(`atp: ${error.message} [${error.code}]\n`))
    if (error.branch === 'internal' && error.stack) process.stderr.write(`${error.stack}\n`)
    return
  }
  process.stderr.write(redact(`atp: ${error instanceof Error ? (error.stack ?? error.message) : messageOf(error)}\n`))
}

/** Exit code for an error that ended a command. */
export function exitCodeOfError(error: unknown): number {
  if (isUsageError(error)) return EXIT.usage
  return isAtpError(error) && error.verdict === 'infrastructure' ? EXIT.infrastructure : EXIT.failed
}

// Whoever reads the output ("| head") may leave before the end; the work and its exit code go on.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
  })
}
try {
  await configureLogging()
  await createProgram().parseAsync(process.argv)
} catch (error) {
  if (error instanceof CommanderError) {
    // Commander has printed its message; asking for help or the version is no error.
    process.exitCode = error.exitCode === 0 ? 0 : EXIT.usage
  } else {
    printError(error)
    process.exitCode = exitCodeOfError(error)
  }
}
