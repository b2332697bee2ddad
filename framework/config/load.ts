import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Ajv } from 'ajv'
import { configError, messageOf, parseDuration } from '../core/index.ts'
import type { AtpConfig, EvidenceMode, LabSettings, QualityGateRule, SecretSource, VideoMode } from './define.ts'
import type { HostsFile, SpiceVm } from './hosts-file.ts'
import { resolveHost, type ResolvedHost } from './resolve-host.ts'
import { resolveVdi, type ResolvedVdi } from './resolve-vdi.ts'
import { resolveVerification, type ResolvedVerification } from './resolve-verification.ts'
import { schemaProblems, settingName } from './schema-problems.ts'
import { configSchema } from './schema.ts'

/** All settings with their defaults filled in; durations in milliseconds, paths absolute. */
export interface ResolvedConfig {
  root: string
  /** Path of the configuration file, or undefined when the defaults apply. */
  file: string | undefined
  specs: string[]
  /** Those of the configuration, then those of the hosts file. */
  hosts: ResolvedHost[]
  /** Where hosts are stored. Without the setting it may not exist yet. */
  hostsFile: string
  /** VMs whose SPICE servers are named by address: what `TransportManager` takes as `spiceVms`. */
  spice: { vms: SpiceVm[] }
  lab: LabSettings | undefined
  tags: { name: string; description?: string; timeout?: number; retry?: number }[]
  timeouts: { lease: number; setup: number; test: number; step: number; expect: number; teardown: number }
  retry: number
  bail: number
  workers: number | undefined
  evidence: EvidenceMode
  video: VideoMode
  secrets: Record<string, SecretSource>
  report: {
    allure: { results: string; report: string; history: string; qualityGate: QualityGateRule[] } | undefined
    junit: string | undefined
    json: string | undefined
  }
  /** Undefined: off. */
  metrics: { port: number; host: string; token: SecretSource | undefined } | undefined
  /** `'lab'`: the lab's stand-in. Undefined: no platform. */
  vdi: ResolvedVdi | 'lab' | undefined
  /** Undefined: no agent can connect. */
  verification: ResolvedVerification | undefined
  plugins: string[]
}

const FILE_NAMES = ['atp.config.ts', 'atp.config.mts', 'atp.config.js', 'atp.config.mjs']
const HOSTS_FILE = 'hosts.yaml'

/**
 * Loads and checks the configuration of a project, with its hosts file.
 *
 * @param file Explicit path; otherwise the first of `atp.config.{ts,mts,js,mjs}` in `root`; without one the
 *   defaults apply: `specs/`, the hosts of `hosts.yaml`, and where it names none the embedded lab.
 * @throws `ATP_CONFIG_MISSING`, `ATP_CONFIG_LOAD`, `ATP_CONFIG_INVALID` (every problem of the file in one error),
 *   `ATP_HOSTS_FILE`, `ATP_HOSTS_INVALID`.
 */
export async function loadConfig(root: string, file?: string): Promise<ResolvedConfig> {
  const path = file
    ? resolve(root, file)
    : FILE_NAMES.map((name) => resolve(root, name)).find((candidate) => existsSync(candidate))
  const config = path === undefined ? {} : checked(await loadModule(path), path)
  const hostsPath = hostsFileOf(config, root, path)
  let hostsFile: HostsFile | undefined
  if (config.hostsFile !== undefined || existsSync(hostsPath)) {
    // Loaded only where there is one: it brings the YAML reader with it.
    hostsFile = (await import('./hosts-file.ts')).readHostsFile(hostsPath)
  }
  if (path === undefined && !hostsFile?.hosts.length) config.lab = true
  return resolveConfig(config, root, path, hostsFile)
}

async function loadModule(path: string): Promise<unknown> {
  if (!existsSync(path)) {
    throw configError('ATP_CONFIG_MISSING', `no configuration file at ${path}`, {
      remedy: 'pass --config with an existing file, or run "npx atp config init"',
    })
  }
  let loaded: { default?: unknown }
  try {
    loaded = (await import(pathToFileURL(path).href)) as { default?: unknown }
  } catch (error) {
    throw configError('ATP_CONFIG_LOAD', `${path} could not be loaded: ${messageOf(error)}`, { cause: error })
  }
  if (loaded.default === undefined) {
    throw configError('ATP_CONFIG_INVALID', `${path} has no default export`, {
      remedy: 'write "export default defineConfig({ … })"',
    })
  }
  return loaded.default
}

/** @throws `ATP_CONFIG_INVALID` */
function checked(config: unknown, where: string): AtpConfig {
  const validate = new Ajv({ allErrors: true, allowUnionTypes: true }).compile<AtpConfig>(configSchema)
  if (validate(config)) return config
  const problems = schemaProblems(validate.errors ?? [], configSchema)
  const lines = problems.map(({ pointer, message }) => `  ${settingName(pointer)}: ${message}`)
  throw configError('ATP_CONFIG_INVALID', `${where} is not valid:\n${lines.join('\n')}`)
}

function hostsFileOf(config: AtpConfig, root: string, file: string | undefined): string {
  const folder = file === undefined ? root : dirname(file)
  return resolve(folder, config.hostsFile ?? HOSTS_FILE)
}

/**
 * Checks a configuration object and fills in the defaults. Reads no file: the hosts file is passed in.
 *
 * @throws `ATP_CONFIG_INVALID`
 */
export function resolveConfig(raw: unknown, root: string, file?: string, hostsFile?: HostsFile): ResolvedConfig {
  const where = file ?? 'the configuration'
  const config = checked(raw, where)
  const ms = (name: string, value: number | string | undefined, fallback: number): number => {
    if (value === undefined) return fallback
    try {
      return parseDuration(value)
    } catch (error) {
      throw configError('ATP_CONFIG_INVALID', `${where}: ${name}: ${messageOf(error)}`)
    }
  }
  const t = config.timeouts ?? {}
  const allure = config.report?.allure
  const place = file ?? join(root, FILE_NAMES[0] as string)
  const hosts = allHosts(config, place, where, hostsFile)
  const hostIds = config.lab ? undefined : hosts.map(({ id }) => id)
  return {
    root,
    file,
    specs: config.specs ?? ['specs/**/*.spec.{ts,yaml,yml,json}'],
    hosts,
    hostsFile: hostsFileOf(config, root, file),
    spice: { vms: hostsFile?.spiceVms ?? [] },
    lab: config.lab === true ? {} : config.lab || undefined,
    tags: (config.tags ?? []).map((tag) =>
      typeof tag === 'string'
        ? { name: tag }
        : {
            name: tag.name,
            ...(tag.description === undefined ? {} : { description: tag.description }),
            ...(tag.timeout === undefined ? {} : { timeout: ms(`tags.${tag.name}.timeout`, tag.timeout, 0) }),
            ...(tag.retry === undefined ? {} : { retry: tag.retry }),
          },
    ),
    timeouts: {
      lease: ms('timeouts.lease', t.lease, 120_000),
      setup: ms('timeouts.setup', t.setup, 60_000),
      test: ms('timeouts.test', t.test, 60_000),
      step: ms('timeouts.step', t.step, 30_000),
      expect: ms('timeouts.expect', t.expect, 5_000),
      teardown: ms('timeouts.teardown', t.teardown, 30_000),
    },
    retry: config.retry ?? 0,
    bail: config.bail ?? 0,
    workers: config.workers,
    evidence: config.evidence ?? 'on-failure',
    video: config.video ?? (config.evidence === 'off' ? 'off' : 'on-failure'),
    secrets: config.secrets ?? {},
    report: {
      allure:
        allure === false
          ? undefined
          : {
              results: resolve(root, allure?.results ?? 'allure-results'),
              report: resolve(root, allure?.report ?? 'allure-report'),
              history: resolve(root, allure?.history ?? '.atp/allure-history.jsonl'),
              qualityGate: allure?.qualityGate ?? [],
            },
      junit: config.report?.junit && resolve(root, config.report.junit),
      json: config.report?.json && resolve(root, config.report.json),
    },
    metrics: config.metrics
      ? { port: 9464, host: '127.0.0.1', token: undefined, ...(config.metrics === true ? {} : config.metrics) }
      : undefined,
    vdi:
      config.vdi === 'lab' ? 'lab' : config.vdi && resolveVdi(config.vdi, place, where, config.secrets ?? {}, hostIds),
    verification: config.verification && resolveVerification(config.verification, place, where, config.secrets ?? {}),
    plugins: (config.plugins ?? []).map((plugin) => pluginFile(plugin, root, where)),
  }
}

/** The hosts of both files. @throws `ATP_CONFIG_INVALID` naming both places of an id that is used twice. */
function allHosts(config: AtpConfig, file: string, where: string, hostsFile: HostsFile | undefined): ResolvedHost[] {
  const secrets = config.secrets ?? {}
  const own = (config.hosts ?? []).map((host, index) =>
    resolveHost(host, { file, text: `${where}: hosts[${index}]` }, secrets),
  )
  const stored = (hostsFile?.hosts ?? []).map(({ config: host, place }) =>
    resolveHost(host, { file: hostsFile?.path as string, text: place }, secrets),
  )
  const hosts = [...own, ...stored]
  for (const [index, { id, place }] of hosts.entries()) {
    const first = hosts.find((host) => host.id === id) as ResolvedHost
    if (first === hosts[index]) continue
    throw configError('ATP_CONFIG_INVALID', `${place}: the id "${id}" is used twice, first at ${first.place}`)
  }
  return hosts
}

/** Path of a plug-in: a file of the project, or a package it has installed. */
function pluginFile(plugin: string, root: string, where: string): string {
  if (plugin.startsWith('.') || plugin.startsWith('/')) return resolve(root, plugin)
  try {
    return createRequire(resolve(root, 'package.json')).resolve(plugin)
  } catch (error) {
    throw configError('ATP_CONFIG_INVALID', `${where}: plugins: "${plugin}" is not installed in ${root}`, {
      cause: error,
      remedy: 'install the package, or name a file: ./plugins/mine.ts',
    })
  }
}
