import { metrics } from '@opentelemetry/api'
import { MeterProvider, MetricReader, type MetricData } from '@opentelemetry/sdk-metrics'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { HostObserver } from '../../../framework/hosts/index.ts'
import { hostInstruments, METER_NAME } from '../../../framework/metrics/index.ts'
import { prometheusMetrics } from '../../../framework/metrics/prometheus.ts'
import { pageOf, tableRows } from '../docs/pages.ts'
import { samplesOf, valueOf } from './samples.ts'

const CALLS = { host: 'lab-1', role: 'calls' } as const

function tell(observer: HostObserver): void {
  observer.stateChanged({ host: 'lab-1', from: 'disconnected', to: 'connecting' })
  observer.linkOpened(CALLS, { durationMs: 20, reconnect: false })
  observer.stateChanged({ host: 'lab-1', from: 'connecting', to: 'connected' })
  for (const durationMs of [0.4, 0.6, 3000])
    observer.callSettled(CALLS, { operation: 'monitor-command', outcome: 'ok', durationMs, queuedMs: 0.05 })
  observer.callSettled(CALLS, { operation: 'agent-command', outcome: 'timeout', durationMs: 60_000, queuedMs: 60_000 })
  observer.linkClosed(CALLS, new Error('lost'))
  observer.stateChanged({ host: 'lab-1', from: 'connected', to: 'reconnecting' })
  observer.linkOpened(CALLS, { durationMs: 30, reconnect: true })
  observer.stateChanged({ host: 'lab-1', from: 'reconnecting', to: 'connected' })
  observer.poolCounted('lab-1', 'idle', 1)
  observer.poolTimed('lab-1', 'connect', 40)
  observer.poolCounted('lab-1', 'waiting', 2)
  observer.poolCounted('lab-1', 'waiting', -1)
  observer.poolCounted('lab-1', 'uses', 1)
  observer.poolCounted('lab-1', 'idle', -1)
  observer.poolCounted('lab-1', 'active', 1)
  observer.poolCounted('lab-1', 'failed', 1)
  for (const durationMs of [0.05, 150]) observer.poolTimed('lab-1', 'acquire', durationMs)
}

describe('Prometheus text', () => {
  it('has every figure with its attributes', async () => {
    const { observer, text } = prometheusMetrics('1.2.3', { 'service.name': 'atp', 'service.instance.id': '运行"1"' })
    tell(observer)
    const samples = samplesOf(await text())
    const calls = { host: 'lab-1', role: 'calls' }
    expect(valueOf(samples, 'atp_host_connections', calls)).toBe(1)
    expect(valueOf(samples, 'atp_host_reconnects_total', calls)).toBe(1)
    expect(valueOf(samples, 'atp_host_losses_total', calls)).toBe(1)
    expect(valueOf(samples, 'atp_host_connect_duration_count', calls)).toBe(2)
    expect(valueOf(samples, 'atp_host_state', { host: 'lab-1', state: 'connected' })).toBe(1)
    expect(valueOf(samples, 'atp_host_state', { host: 'lab-1', state: 'reconnecting' })).toBe(0)
    const monitor = { ...calls, operation: 'monitor-command', outcome: 'ok' }
    expect(valueOf(samples, 'atp_libvirt_calls_total', monitor)).toBe(3)
    expect(valueOf(samples, 'atp_libvirt_call_duration_sum', monitor)).toBeCloseTo(3.001)
    expect(valueOf(samples, 'atp_libvirt_call_duration_bucket', { ...monitor, le: '0.0005' })).toBe(1)
    expect(valueOf(samples, 'atp_libvirt_call_duration_bucket', { ...monitor, le: '0.001' })).toBe(2)
    expect(valueOf(samples, 'atp_libvirt_call_duration_bucket', { ...monitor, le: '+Inf' })).toBe(3)
    const agent = { ...calls, operation: 'agent-command', outcome: 'timeout' }
    expect(valueOf(samples, 'atp_libvirt_calls_total', agent)).toBe(1)
    expect(valueOf(samples, 'atp_libvirt_call_duration_bucket', { ...agent, le: '30' })).toBe(0)
    expect(valueOf(samples, 'atp_libvirt_call_queued_sum', { ...calls, operation: 'agent-command' })).toBe(60)
    const pool = { host: 'lab-1' }
    expect(valueOf(samples, 'atp_pool_connections', { ...pool, state: 'active' })).toBe(1)
    expect(valueOf(samples, 'atp_pool_connections', pool)).toBe(1)
    expect(valueOf(samples, 'atp_pool_uses', pool)).toBe(1)
    expect(valueOf(samples, 'atp_pool_waiting', pool)).toBe(1)
    expect(valueOf(samples, 'atp_pool_failures_total', pool)).toBe(1)
    expect(valueOf(samples, 'atp_pool_connect_duration_sum', pool)).toBeCloseTo(0.04)
    expect(valueOf(samples, 'atp_pool_acquire_duration_count', pool)).toBe(2)
    expect(valueOf(samples, 'atp_pool_acquire_duration_bucket', { ...pool, le: '0.1' })).toBe(1)
    expect(valueOf(samples, 'target_info', { service_name: 'atp', service_instance_id: '运行"1"' })).toBe(1)
  })

  it('has the names, kinds and attributes of the documentation', async () => {
    const { observer, text } = prometheusMetrics('1.2.3', {})
    tell(observer)
    const page = await text()
    const samples = samplesOf(page)
    const rows = tableRows(pageOf('docs/metrics.md').text)
    const documented = rows.map(([instrument = '', name = '', kind = '', attributes = '']) => {
      const plain = name.replaceAll('`', '')
      expect(plain.replace(/_total$/, '')).toBe(instrument.replaceAll('`', '').replaceAll('.', '_'))
      expect(page).toContain(`\n# TYPE ${plain} ${kind.split(',')[0]}\n`)
      const sample = samples.find((one) => one.name === plain || one.name === `${plain}_count`)
      expect(Object.keys(sample?.labels ?? {})).toEqual(attributes.replaceAll('`', '').split(', '))
      return plain
    })
    const served = [...page.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name as string)
    expect(documented.toSorted()).toEqual(served.filter((name) => name !== 'target_info').toSorted())
  })

  it('is a page when nothing has happened yet', async () => {
    const { text } = prometheusMetrics('1.2.3', { 'service.name': 'atp' })
    expect(samplesOf(await text()).map(({ name }) => name)).toEqual(['target_info'])
  })
})

describe('an OpenTelemetry SDK of the author', () => {
  it('gets the same figures', async () => {
    const reader = new (class extends MetricReader {
      protected override async onForceFlush(): Promise<void> {}
      protected override async onShutdown(): Promise<void> {}
    })()
    metrics.setGlobalMeterProvider(new MeterProvider({ readers: [reader] }))
    onTestFinished(() => metrics.disable())
    const { observer, text } = prometheusMetrics('1.2.3', {})
    tell(observer)
    const { resourceMetrics } = await reader.collect()
    const [scope] = resourceMetrics.scopeMetrics
    expect(scope?.scope).toMatchObject({ name: METER_NAME, version: '1.2.3' })
    const byName = new Map(scope?.metrics.map((one) => [one.descriptor.name, one]) as [string, MetricData][])
    expect([...byName.keys()].toSorted()).toEqual([
      'atp.host.connect.duration',
      'atp.host.connections',
      'atp.host.losses',
      'atp.host.reconnects',
      'atp.host.state',
      'atp.libvirt.call.duration',
      'atp.libvirt.call.queued',
      'atp.libvirt.calls',
      'atp.pool.acquire.duration',
      'atp.pool.connect.duration',
      'atp.pool.connections',
      'atp.pool.failures',
      'atp.pool.uses',
      'atp.pool.waiting',
    ])
    expect(byName.get('atp.libvirt.call.duration')?.descriptor.unit).toBe('s')
    const calls = byName.get('atp.libvirt.calls')?.dataPoints.map(({ value }) => value)
    expect(calls).toEqual([3, 1])
    expect(valueOf(samplesOf(await text()), 'atp_libvirt_calls_total', { operation: 'monitor-command' })).toBe(3)
  })

  it('may be used without a run', async () => {
    const observer = hostInstruments(metrics.getMeter(METER_NAME))
    // Without an SDK nothing is recorded, and nothing fails.
    expect(() => tell(observer)).not.toThrow()
  })
})
