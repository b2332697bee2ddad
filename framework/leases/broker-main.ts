/**
 * The broker's process: `broker-main --state <dir> [--provider <module url>] [--config <json>] [--idle-ms <n>]`.
 *
 * The provider module exports `createProvider(config): Promise<VmProvider>`. Without one the broker has no VMs of its
 * own; it serves locks and attached VMs. Exit codes: 0 ended in order or another broker is there already, 1 failed,
 * also when a VM could not be destroyed.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { configError, configureLogging, logger, messageOf, sleep, withDeadline, packageVersion } from '../core/index.ts'
import type { VmProvider } from './api.ts'
import { Broker } from './broker.ts'
import { Journal } from './journal.ts'
import { servesOf } from './launch.ts'
import { noProvider } from './no-provider.ts'
import { ProcessGuard } from './process-guard.ts'
import { BrokerServer } from './server.ts'
import { makeStateDir, statePaths, type StatePaths } from './state-dir.ts'

const DEFAULT_IDLE_MS = 5_000
const FAILURE_STAY_MS = 5_000
/** Bounds a start that does not react to being interrupted. */
const END_TIMEOUT_MS = 75_000
const log = logger('leases')

interface Arguments {
  state: string
  provider: string | undefined
  config: string
  idleMs: number
}

function readArguments(): Arguments {
  const { values } = parseArgs({
    options: {
      state: { type: 'string' },
      provider: { type: 'string' },
      config: { type: 'string', default: 'null' },
      'idle-ms': { type: 'string', default: String(DEFAULT_IDLE_MS) },
    },
  })
  if (values.state === undefined) throw configError('ATP_BROKER_ARGUMENTS', 'the broker needs --state <dir>')
  const idleMs = Number(values['idle-ms'])
  if (!(idleMs >= 0))
    throw configError('ATP_BROKER_ARGUMENTS', `--idle-ms is not a number of milliseconds: ${values['idle-ms']}`)
  return { state: values.state, provider: values.provider, config: values.config, idleMs }
}

async function main(): Promise<void> {
  const { state, provider: providerUrl, config, idleMs } = readArguments()
  await configureLogging()
  const paths = statePaths(state)
  await makeStateDir(paths)
  const guard = await ProcessGuard.acquire(paths.dir, 'broker')
  if (!guard) return

  const version = packageVersion()
  writeFile(paths.process, { pid: process.pid, version, startedAtMs: Date.now() })
  const stop = new AbortController()
  let idleTimer: NodeJS.Timeout | undefined
  let provider: VmProvider | undefined
  let broker: Broker | undefined
  const journal = Journal.open(paths.journal)
  journal.note({ event: 'start', pid: process.pid, version })

  const { promise: starting, resolve: started, reject: failed } = Promise.withResolvers<Broker>()
  // Reported below; without a client nobody else looks at it.
  starting.catch(() => {})
  const server = await BrokerServer.listen({
    socketPath: paths.socket,
    version,
    serves: servesOf(providerUrl, config),
    broker: starting,
    onUnwanted: () => end(0),
    onClientGone: waitForClients,
    onSetting: (standbys) => writeFile(paths.settings, { standbys }),
  })

  /** Ends the process unless a client comes within the idle time. */
  function waitForClients(): void {
    clearTimeout(idleTimer)
    idleTimer = setTimeout(() => {
      if (broker?.idle && server.clients === 0) end(0)
    }, idleMs)
  }

  let ending: Promise<void> | undefined
  function end(exitCode: number): void {
    ending ??= (async () => {
      clearTimeout(idleTimer)
      stop.abort(new Error('the broker ends'))
      server.stopListening()
      const closed = withDeadline('ending', { timeoutMs: END_TIMEOUT_MS }, () => starting.then((made) => made.close()))
      const left = await closed.catch(() => [])
      if (left.length > 0) log.error(`not destroyed: ${left.join(', ')}`)
      await server.close()
      journal.close()
      process.exit(left.length > 0 ? 1 : exitCode)
    })().catch((error: unknown) => {
      log.error(`ending failed: ${messageOf(error)}`)
      process.exit(1)
    })
  }

  process.on('SIGTERM', () => end(0))
  process.on('SIGINT', () => end(0))
  process.on('SIGHUP', () => {})
  for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
    process.on(event, (error: unknown) => {
      log.fatal(`the broker is broken: ${error instanceof Error ? error.stack : String(error)}`)
      end(1)
    })
  }
  try {
    provider = providerUrl === undefined ? noProvider : await load(providerUrl, JSON.parse(config))
    const standbys = readStandbys(paths)
    broker = await Broker.start({ provider, journal, standbys, onIdle: waitForClients }, { signal: stop.signal })
    started(broker)
    waitForClients()
  } catch (error) {
    failed(error)
    log.error(`the broker cannot start: ${messageOf(error)}`)
    await provider?.close()
    // Whoever started it wants to know why it failed.
    await Promise.race([server.told, sleep(FAILURE_STAY_MS)])
    end(1)
  }
}

/** @throws `ATP_BROKER_PROVIDER` when the module is missing or exports no `createProvider`. */
async function load(url: string, config: unknown): Promise<VmProvider> {
  let module: { createProvider?: (config: unknown) => Promise<VmProvider> }
  try {
    module = (await import(url)) as typeof module
  } catch (error) {
    throw configError('ATP_BROKER_PROVIDER', `the provider module ${url} cannot be loaded: ${messageOf(error)}`, {
      cause: error,
    })
  }
  if (typeof module.createProvider !== 'function') {
    throw configError('ATP_BROKER_PROVIDER', `the provider module ${url} exports no createProvider`)
  }
  return module.createProvider(config)
}

function readStandbys({ settings }: StatePaths): Record<string, number> {
  let text: string
  try {
    text = readFileSync(settings, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {}
    throw error
  }
  try {
    return (JSON.parse(text) as { standbys: Record<string, number> }).standbys
  } catch (error) {
    log.warn(`the settings in ${settings} cannot be read and are ignored: ${messageOf(error)}`)
    return {}
  }
}

function writeFile(path: string, content: object): void {
  writeFileSync(`${path}.next`, JSON.stringify(content), { mode: 0o600 })
  renameSync(`${path}.next`, path)
}

try {
  await main()
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`)
  process.exit(1)
}
