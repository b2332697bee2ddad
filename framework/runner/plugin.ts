import { totalmem } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Plugin } from 'vite'
import type {} from 'vitest/config'
import type { Vitest } from 'vitest/node'
import { loadConfig, type ResolvedConfig } from '../config/index.ts'
import { loadPlugins } from '../plugins/index.ts'
import { scenarioPlugin } from '../scenario/vite-plugin.ts'
import { VitestAdapter } from './adapter.ts'
import type { RelayAddress } from '../metrics/relay-client.ts'
import type { AtpContext } from './context.ts'
import { fileReporters } from './reporting.ts'
import { EventHub } from './event-hub.ts'
import { newRunId } from './run-id.ts'
import { newPlatformDoor, type PlatformDoor } from './lab-platform.ts'
import { ownModule } from './own-module.ts'
import { verificationDoorFor, type VerificationDoor } from './verification-door.ts'
import { stateDir } from './state-dir.ts'

/** What a run tells its workers besides the configuration: where they reach its main process, and what was asked. */
export interface RunDoors {
  metrics?: RelayAddress | undefined
  platformDoor?: PlatformDoor | undefined
  verificationDoor?: VerificationDoor | undefined
  /** Expected pictures are written, not compared. */
  updateScreens?: boolean
}

/** Set by the CLI: it runs the session itself and has reporters of its own. */
export interface DrivenBy {
  config: ResolvedConfig
  run: string
  doors: RunDoors
}

const PACKAGE = '@ocloudview/atp'
const WORKER_MEMORY_BYTES = 100 * 2 ** 20
const MOST_WORKERS = 16

/**
 * The Vite plugin that lets Vitest run ATP specs, exported as `@ocloudview/atp/vitest` for the stock `vitest`
 * command and editor extensions:
 *
 * ```ts
 * // vitest.config.ts
 * import { atp } from '@ocloudview/atp/vitest'
 * export default { plugins: [atp()] }
 * ```
 *
 * `npx atp test` uses the same plugin and adds its reporters, signals and exit codes.
 */
export function atp(options: { config?: string } = {}, drivenBy?: DrivenBy): Plugin[] {
  let resolved: ResolvedConfig | undefined
  const run = drivenBy?.run ?? newRunId()
  return [
    {
      name: 'atp',
      enforce: 'pre',
      async config(userConfig) {
        const root = userConfig.root ?? process.cwd()
        const config = (resolved = drivenBy?.config ?? (await loadConfig(root, options.config)))
        // YAML is translated in this process and needs the step kinds they register; workers load them as well.
        await loadPlugins(config.plugins)
        return {
          test: {
            include: config.specs,
            setupFiles: [ownModule('framework/runner/worker/setup-file')],
            globalSetup: drivenBy ? [] : [ownModule('framework/runner/global-setup')],
            // Node loads the framework itself: faster than through Vite, and one copy of every module.
            server: {
              deps: {
                external: OWN_ROOTS.map((root) => new RegExp(`^${root.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')}`)),
              },
            },
            pool: 'forks',
            isolate: false,
            // A young generation of V8's own choice takes tens of megabytes from each of many workers. "npm run bench"
            // uses the same.
            execArgv: ['--max-semi-space-size=8'],
            ...(config.workers === undefined ? {} : { maxWorkers: config.workers }),
            // Bodies are bounded by the framework; Vitest's own limit covers hooks and backs the rest up.
            hookTimeout: config.timeouts.lease + config.timeouts.setup,
            teardownTimeout: config.timeouts.teardown,
            retry: config.retry,
            bail: config.bail,
            includeTaskLocation: true,
            strictTags: true,
            tags: config.tags.map(({ name, description, retry }) => ({
              name,
              ...(description === undefined ? {} : { description }),
              ...(retry === undefined ? {} : { retry }),
            })),
            provide: { atp: contextOf(config, run, drivenBy?.doors ?? doorsFor(config)) },
            // Frames of the framework hide the line of the spec that a reader wants to see.
            onStackTrace: (_error: unknown, frame: { file: string }) => !isOwnFrame(frame.file),
          },
        }
      },
      resolveId(id) {
        // Specs, also translated YAML, must get the very modules that the set-up file loaded.
        if (id === PACKAGE || id.startsWith(`${PACKAGE}/`)) return fileURLToPath(import.meta.resolve(id))
        return undefined
      },
      configureVitest({ vitest }) {
        if (!drivenBy && resolved) reportTo(vitest, resolved)
      },
    },
    scenarioPlugin(),
  ]
}

/** As many workers as VMs can be leased at once, bounded by memory. */
export function workerCount(config: ResolvedConfig, capacity: number): number {
  return (
    config.workers ?? Math.max(2, Math.min(capacity, MOST_WORKERS, Math.floor(totalmem() / 4 / WORKER_MEMORY_BYTES)))
  )
}

export function contextOf(config: ResolvedConfig, run: string, doors: RunDoors = {}): AtpContext {
  return {
    run,
    stateDir: stateDir(),
    root: config.root,
    configFile: config.file,
    evidenceDir: join(config.root, '.atp', 'runs', run),
    evidence: config.evidence,
    video: config.video,
    timeouts: config.timeouts,
    tags: config.tags,
    secrets: config.secrets,
    plugins: config.plugins,
    updateScreens: doors.updateScreens ?? false,
    allure: config.report.allure !== undefined,
    hosts: config.hosts,
    lab: config.lab !== undefined,
    vdi: config.vdi,
    platformDoor: doors.platformDoor,
    verification: config.verification && {
      door: doors.verificationDoor,
      vms: Object.fromEntries(
        Object.entries(config.verification.agents).flatMap(([vmId, { vm }]) => (vm === undefined ? [] : [[vmId, vm]])),
      ),
      connectionTimeoutMs: config.verification.connectionTimeoutMs,
    },
    metrics: doors.metrics,
  }
}

/** Where workers will ask for the stand-in platform and for verifier agents, where the configuration has them. */
export function doorsFor(config: ResolvedConfig): Pick<RunDoors, 'platformDoor' | 'verificationDoor'> {
  return {
    platformDoor: config.vdi === 'lab' ? newPlatformDoor() : undefined,
    verificationDoor: verificationDoorFor(config),
  }
}

/** Under the stock `vitest` command Vitest prints; the report files are written as with `atp test`. */
function reportTo(vitest: Vitest, config: ResolvedConfig): void {
  const hub = new EventHub(fileReporters(config).reporters)
  const adapter = new VitestAdapter(config.root, (event) => hub.emit(event))
  vitest.onClose(async () => {
    await hub.close()
    for (const text of hub.failures) process.stderr.write(`atp: a report is incomplete: ${text}\n`)
  })
  vitest.config.reporters.push(adapter as never)
}

const OWN_ROOTS = ['framework', 'fixtures', 'lab', 'reporters'].map((room) =>
  fileURLToPath(new URL(`../../${room}/`, import.meta.url)),
)
function isOwnFrame(file: string): boolean {
  const path = file.startsWith('file:') ? fileURLToPath(file) : file
  // Nor does a library the framework calls, such as one that runs tasks side by side.
  return path.includes('/node_modules/') || OWN_ROOTS.some((root) => path.startsWith(root))
}
