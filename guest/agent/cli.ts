import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { configError, isAtpError, messageOf } from '../../framework/core/errors.ts'
import { Agent, KeyboardVerifier, MouseVerifier, type LogLevel, type SeenInput, type Verifier } from '../core/index.ts'
import manifest from '../package.json' with { type: 'json' }
import { FineClock } from './clock.ts'
import { HELP } from './help.ts'
import { openInputSources, type InputSources } from './input/sources.ts'
import { describeInput } from './input/describe.ts'
import { readOptions, TOKEN_VARIABLE, type AgentOptions } from './options.ts'
import { loadPlugin } from './plugins.ts'
import { runAgent } from './run.ts'
import { isLocal, parseEndpoint } from './transports/endpoint.ts'
import { CommandVerifier } from './verifiers/command.ts'
import { detectVmId } from './vm-id.ts'

/** Where the program's output goes. */
export interface Streams {
  stdout(text: string): void
  stderr(text: string): void
}

const BUILT_IN = ['keyboard', 'mouse', 'command']
const LEVELS: readonly LogLevel[] = ['error', 'warn', 'info', 'debug']

/**
 * `atp-verifier` as a function.
 *
 * @param env is read, and the token removed from it: what the agent starts does not inherit it.
 * @param signal ends the agent, as SIGTERM does.
 * @returns the exit code: 0, 1 for a connection that failed, 2 for wrong options.
 */
export async function main(
  args: readonly string[],
  env: Record<string, string | undefined>,
  { stdout, stderr }: Streams,
  signal: AbortSignal,
): Promise<number> {
  try {
    const read = readOptions(args, env)
    delete env[TOKEN_VARIABLE]
    if ('show' in read) {
      stdout(read.show === 'help' ? HELP : `${manifest.version}\n`)
      return 0
    }
    const { options, warnings } = read
    const log = (level: LogLevel, text: string) => {
      if (LEVELS.indexOf(level) > LEVELS.indexOf(options.logLevel)) return
      stderr(`${new Date().toISOString()} ${level} ${text.replaceAll('\n', '\n  ')}\n`)
    }
    for (const warning of warnings) log('warn', warning)
    const sources = openInputSources(process.platform)
    try {
      await (options.testInput ? showInput(options, sources, stdout, signal) : serve(options, sources, log, signal))
    } finally {
      sources.close()
    }
    return 0
  } catch (error) {
    stderr(`atp-verifier: ${messageOf(error)}\n`)
    return isAtpError(error) && error.branch === 'config' ? 2 : 1
  }
}

async function serve(
  options: AgentOptions,
  sources: InputSources,
  log: (level: LogLevel, text: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const endpoint = parseEndpoint(options.server, options.transport)
  const secure = !('secure' in endpoint) || endpoint.secure || isLocal(endpoint)
  if (options.token !== undefined && !secure)
    log('warn', 'the token goes over the network unencrypted: use wss:// or tls://')
  const verifiers = await makeVerifiers(options, sources)
  const used = sources.list.filter(({ device }) => verifiers.some(({ verifierType }) => verifierType === device))
  const { id, from } = options.vmId === undefined ? detectVmId() : { id: options.vmId, from: 'the options' }
  log('info', `VM ${id} (${from}); verifiers: ${verifiers.map(({ verifierType }) => verifierType).join(', ')}`)
  // Observing begins now: the first expectation should not wait for it.
  for (const source of used) {
    source
      .watch({ onInput: () => {}, onGap: (reason) => log('warn', reason) })
      .catch((error: unknown) => log('warn', messageOf(error)))
  }
  const clock = new FineClock()
  const agent = new Agent({
    identity: {
      // A VM that was made from the memory of another one is another VM from then on.
      get vm_id() {
        return options.vmId ?? detectVmId().id
      },
      session: randomUUID(),
      agent: { version: manifest.version, platform: process.platform === 'win32' ? 'win32' : 'linux' },
      level: 'kernel',
    },
    ...(options.token !== undefined && { token: options.token }),
    verifiers,
    sources: used,
    readClock: () => clock.read(),
    tracing: options.trace,
    newId: randomUUID,
    log,
  })
  try {
    await runAgent(agent, {
      endpoint,
      ...(options.ca !== undefined && { tls: { ca: readCertificates(options.ca) } }),
      autoReconnect: options.autoReconnect,
      reconnectIntervalMs: options.reconnectIntervalMs,
      signal,
    })
  } finally {
    await agent.close()
  }
}

async function makeVerifiers({ verifiers, plugins }: AgentOptions, sources: InputSources): Promise<Verifier[]> {
  const custom = await Promise.all(plugins.map(loadPlugin))
  const names = verifiers.length > 0 ? [...new Set(verifiers)] : BUILT_IN
  const made = names.flatMap((name): Verifier[] => {
    const plugin = custom.some(({ verifierType }) => verifierType === name)
    return plugin ? [] : [builtIn(name, sources)]
  })
  return [...made, ...custom]
}

/** @throws `ATP_VERIFIER_OPTIONS` */
function builtIn(name: string, { keyboard, mouse }: InputSources): Verifier {
  if (name === 'keyboard') return new KeyboardVerifier(keyboard)
  if (name === 'mouse') return new MouseVerifier(mouse)
  if (name === 'command') return new CommandVerifier()
  throw configError('ATP_VERIFIER_OPTIONS', `there is no verifier "${name}"`, {
    remedy: `use ${BUILT_IN.join(', ')}, or load one with --plugin`,
  })
}

/** `--test-input`: what would be verified, on this terminal only. */
async function showInput(
  { testDurationMs }: AgentOptions,
  { list }: InputSources,
  stdout: (text: string) => void,
  signal: AbortSignal,
): Promise<void> {
  let count = 0
  const watched = await Promise.allSettled(
    list.map((source) =>
      source.watch({
        onInput: (input: SeenInput) => {
          count++
          stdout(`${source.device} ${describeInput(input)}\n`)
        },
        onGap: (reason) => stdout(`${source.device} gap: ${reason}\n`),
      }),
    ),
  )
  const failures = watched.flatMap((each) => (each.status === 'rejected' ? [each.reason as unknown] : []))
  for (const failure of failures) stdout(`${messageOf(failure)}\n`)
  if (failures.length === list.length) throw failures[0]
  stdout(`watching for ${testDurationMs} ms: use keyboard and mouse now\n`)
  await pause(testDurationMs, undefined, { signal }).catch(() => {})
  stdout(`${count} inputs seen\n`)
}

function readCertificates(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw configError('ATP_VERIFIER_OPTIONS', `the certificates ${path} cannot be read: ${messageOf(error)}`)
  }
}
