import { metrics } from '@opentelemetry/api'
import { PrometheusSerializer } from '@opentelemetry/exporter-prometheus'
import { MeterProvider, MetricReader, type ResourceMetrics } from '@opentelemetry/sdk-metrics'
import { logger, messageOf } from '../core/index.ts'
import { observeAll, type HostObserver } from '../hosts/observer.ts'
import { hostInstruments, METER_NAME } from './host-instruments.ts'

export interface PrometheusMetrics {
  /** To be told what happens. */
  observer: HostObserver
  /** All figures so far in Prometheus' text format. */
  text(): Promise<string>
}

/**
 * Instruments whose figures can be read as Prometheus text. An OpenTelemetry SDK that the author has registered by
 * now gets the same figures.
 *
 * @param labels of the series `target_info`, e.g. `service.name`.
 */
export function prometheusMetrics(version: string, labels: Record<string, string>): PrometheusMetrics {
  const reader = new PullReader()
  const own = new MeterProvider({ readers: [reader] })
  const serializer = new PrometheusSerializer('', false, undefined, false, true)
  const resource = { attributes: labels } as unknown as ResourceMetrics['resource']
  const meters = [own.getMeter(METER_NAME, version), metrics.getMeter(METER_NAME, version)]
  return {
    observer: observeAll(meters.map(hostInstruments)),
    async text() {
      const { resourceMetrics, errors } = await reader.collect()
      for (const error of errors) logger('metrics').error(`collecting failed: ${messageOf(error)}`)
      return serializer.serialize({ ...resourceMetrics, resource })
    },
  }
}

/** Collects when asked. */
class PullReader extends MetricReader {
  protected override async onForceFlush(): Promise<void> {}
  protected override async onShutdown(): Promise<void> {}
}
