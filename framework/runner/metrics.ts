import { randomBytes } from 'node:crypto'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join, relative, resolve } from 'node:path'
import type { ResolvedConfig } from '../config/index.ts'
import { readSecret } from '../config/secrets.ts'
import { packageVersion, Secret } from '../core/index.ts'
import { MetricsEndpoint } from '../metrics/endpoint.ts'
import type { PrometheusMetrics } from '../metrics/prometheus.ts'
import type { RelayAddress } from '../metrics/relay-client.ts'
import { RelayServer } from '../metrics/relay-server.ts'
import type { SessionNotice } from './session.ts'

const TOKEN_BYTES = 32

export interface MetricsOptions {
  settings: NonNullable<ResolvedConfig['metrics']>
  root: string
  run: string
  /** Folder of the run: a token made for it goes there. */
  dir: string
  address: RelayAddress
  notify: (notice: SessionNotice) => void
}

/** The metrics of a run while it lasts: what its workers tell, served for Prometheus. */
export interface RunMetrics {
  close(): Promise<void>
}

/**
 * Takes the figures of a run's workers and serves them.
 *
 * @throws `ATP_METRICS_LISTEN`, `ATP_SECRET_MISSING`.
 */
export async function startMetrics(options: MetricsOptions): Promise<RunMetrics> {
  const { settings, root, run, dir, address, notify } = options
  const { host, port } = settings
  let loading: Promise<PrometheusMetrics> | undefined
  // OpenTelemetry is loaded with the first figures: by then this process has little else to do.
  const metrics = () => (loading ??= load(run))
  const tokenFile = join(dir, 'metrics-token')
  const token = settings.token ? configuredToken(settings.token, root) : await makeToken(tokenFile)
  let endpoint: MetricsEndpoint | undefined
  let relay: RelayServer | undefined
  const close = async () => {
    relay?.close()
    await endpoint?.close()
    if (!settings.token) await rm(tokenFile, { force: true })
  }
  try {
    relay = await RelayServer.listen(address, async () => (await metrics()).observer)
    endpoint = await MetricsEndpoint.listen({ host, port, token, text: async () => (await metrics()).text() })
  } catch (error) {
    await close()
    throw error
  }
  const where = settings.token ? 'the configured token' : `the token in ${relative(root, tokenFile)}`
  notify({ level: 'info', text: `metrics: ${endpoint.url} with ${where}` })
  return { close }
}

async function load(run: string): Promise<PrometheusMetrics> {
  const { prometheusMetrics } = await import('../metrics/prometheus.ts')
  const version = packageVersion()
  return prometheusMetrics(version, { 'service.name': 'atp', 'service.version': version, 'service.instance.id': run })
}

function configuredToken(source: NonNullable<MetricsOptions['settings']['token']>, root: string): Secret {
  return readSecret('metrics.token', 'file' in source ? { file: resolve(root, source.file) } : source)
}

async function makeToken(file: string): Promise<Secret> {
  const token = new Secret('metrics.token', randomBytes(TOKEN_BYTES).toString('base64url'))
  await mkdir(join(file, '..'), { recursive: true })
  await writeFile(file, `${token.reveal()}\n`, { mode: 0o600 })
  return token
}
