import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Ajv, type ErrorObject } from 'ajv'
import { configError, messageOf, nearest, parseDuration } from '../core/index.ts'
import type { AtpConfig, EvidenceMode, HostConfig, LabSettings, QualityGateRule } from './define.ts'
import { configSchema } from './schema.ts'

/** All settings with their defaults filled in; durations in milliseconds, paths absolute. */
export interface ResolvedConfig {
  root: string
  /** Path of the configuration file, or undefined when the defaults apply. */
  file: string | undefined
  specs: string[]
  hosts: Required<HostConfig>[]
  lab: LabSettings | undefined
  tags: { name: string; description?: string; timeout?: number; retry?: number }[]
  timeouts: { lease: number; setup: number; test: number; step: number; expect: number; teardown: number }
  retry: number
  bail: number
  workers: number | undefined
  evidence: EvidenceMode
  secrets: Record<string, { env: string } | { file: string }>
  report: {
    allure: { results: string; report: string; history: string; qualityGate: QualityGateRule[] } | undefined
    junit: string | undefined
    json: string | undefined
  }
  plugins: string[]
}

const FILE_NAMES = ['atp.config.ts', 'atp.config.mts', 'atp.config.js', 'atp.config.mjs']

/**
 * Loads and checks the configuration of a project.
 *
 * @param file Explicit path; otherwise the first of `atp.config.{ts,mts,js,mjs}` in `root`; without one the
 *   defaults apply (the embedded lab, `specs/`).
 * @throws `ATP_CONFIG_MISSING`, `ATP_CONFIG_LOAD`, `ATP_CONFIG_INVALID` (every problem of the file in one error).
 */
export async function loadConfig(root: string, file?: string): Promise<ResolvedConfig> {
  const path = file
    ? resolve(root, file)
    : FILE_NAMES.map((name) => resolve(root, name)).find((candidate) => existsSync(candidate))
  if (path === undefined) return resolveConfig({ lab: true }, root)
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
  return resolveConfig(loaded.default, root, path)
}

/** Checks a configuration object and fills in the defaults. @throws `ATP_CONFIG_INVALID`. */
export function resolveConfig(config: unknown, root: string, file?: string): ResolvedConfig {
  const where = file ?? 'the configuration'
  const validate = new Ajv({ allErrors: true, allowUnionTypes: true }).compile<AtpConfig>(configSchema)
  if (!validate(config)) {
    throw configError('ATP_CONFIG_INVALID', `${where} is not valid:\n${describe(validate.errors ?? [])}`)
  }
  const ms = (name: string, value: number | string | undefined, fallback: number): number => {
    if (value === undefined) return fallback
    try {
      return parseDuration(value)
    } catch (error) {
      throw configError('ATP_CONFIG_INVALID', `${where}: ${name}: ${messageOf(error)}`)
    }
  }
  const ids = (config.hosts ?? []).map((host) => host.id)
  const twice = ids.find((id, index) => ids.indexOf(id) !== index)
  if (twice) throw configError('ATP_CONFIG_INVALID', `${where}: hosts: the id "${twice}" is used twice`)
  const t = config.timeouts ?? {}
  const allure = config.report?.allure
  return {
    root,
    file,
    specs: config.specs ?? ['specs/**/*.spec.{ts,yaml,yml,json}'],
    hosts: (config.hosts ?? []).map((host) => ({ capacity: 4, labels: [], ...host })),
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
    plugins: (config.plugins ?? []).map((plugin) => pluginFile(plugin, root, where)),
  }
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

function describe(errors: ErrorObject[]): string {
  const lines = errors
    // "oneOf" only repeats what its branches said.
    .filter((error) => error.keyword !== 'oneOf' || errors.length === 1)
    .map((error) => {
      const place = error.instancePath.slice(1).replaceAll('/', '.') || 'top level'
      if (error.keyword === 'additionalProperties') {
        const key = (error.params as { additionalProperty: string }).additionalProperty
        const guess = nearest(
          key,
          Object.keys((error.parentSchema?.['properties'] as object | undefined) ?? knownKeys(error)),
        )
        return `  ${place}: unknown setting "${key}"${guess ? `; did you mean "${guess}"?` : ''}`
      }
      return `  ${place}: ${error.message ?? error.keyword}`
    })
  return [...new Set(lines)].join('\n')
}

/** The settings allowed at the place an error points to. */
function knownKeys(error: ErrorObject): object {
  let schema: unknown = configSchema
  for (const part of error.schemaPath.replace(/^#\//, '').split('/').slice(0, -1)) {
    schema = (schema as Record<string, unknown>)[part]
  }
  return ((schema as { properties?: object }).properties ?? {}) as object
}
