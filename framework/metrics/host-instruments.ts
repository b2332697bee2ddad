import type { Meter } from '@opentelemetry/api'
import type { HostObserver, ObservedLink } from '../hosts/observer.ts'

/** Name of the meter all instruments belong to. */
export const METER_NAME = 'ocloudview.atp'

/** In seconds, from a call that needs no VM to one that waits for a hung guest. */
const DURATION_BUCKETS_S = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
]

/**
 * Records what happens on connections to hosts on the instruments of a meter: of this framework's own
 * Prometheus endpoint, or of the author's OpenTelemetry SDK.
 *
 * ```ts
 * HostConnection.open(host, { observe: hostInstruments(metrics.getMeter(METER_NAME)) })
 * ```
 *
 * Attributes: `host`, `role`, for calls `operation` and `outcome` as well, for states and pools `state`. Never a VM's name:
 * every value makes a time series.
 */
export function hostInstruments(meter: Meter): HostObserver {
  const seconds = { unit: 's', advice: { explicitBucketBoundaries: DURATION_BUCKETS_S } }
  const connections = meter.createUpDownCounter('atp.host.connections', {
    description: 'Open connections to the daemon of a host',
    unit: '{connection}',
  })
  const states = meter.createUpDownCounter('atp.host.state', {
    description: 'Host connections in each state; disconnected ones are not counted',
    unit: '{connection}',
  })
  const connecting = meter.createHistogram('atp.host.connect.duration', {
    description: 'Making a connection, authentication included',
    ...seconds,
  })
  const reconnects = meter.createCounter('atp.host.reconnects', {
    description: 'Connections that replaced a lost one',
    unit: '{connection}',
  })
  const losses = meter.createCounter('atp.host.losses', {
    description: 'Connections that ended by themselves',
    unit: '{connection}',
  })
  const calls = meter.createCounter('atp.libvirt.calls', { description: 'Calls that are over', unit: '{call}' })
  const durations = meter.createHistogram('atp.libvirt.call.duration', {
    description: 'Calls from handing in to settling, time in the queue included',
    ...seconds,
  })
  const queued = meter.createHistogram('atp.libvirt.call.queued', {
    description: 'Time of calls in the queue before they were sent',
    ...seconds,
  })
  const pooled = meter.createUpDownCounter('atp.pool.connections', {
    description: 'Connections of the pools of a host: in use, idle, being made',
    unit: '{connection}',
  })
  const uses = meter.createUpDownCounter('atp.pool.uses', { description: 'Uses under way', unit: '{use}' })
  const waiting = meter.createUpDownCounter('atp.pool.waiting', {
    description: 'Callers that wait for a connection',
    unit: '{caller}',
  })
  const failures = meter.createCounter('atp.pool.failures', {
    description: 'Attempts that failed and connections that were given up',
    unit: '{failure}',
  })
  const poolTimes = {
    acquire: meter.createHistogram('atp.pool.acquire.duration', {
      description: 'Waiting for a connection of a pool; one for each use',
      ...seconds,
    }),
    connect: meter.createHistogram('atp.pool.connect.duration', {
      description: 'Making a connection of a pool',
      ...seconds,
    }),
  }
  const of = ({ host, role }: ObservedLink) => ({ host, role })
  return {
    linkOpened(link, { durationMs, reconnect }) {
      connections.add(1, of(link))
      connecting.record(durationMs / 1000, of(link))
      if (reconnect) reconnects.add(1, of(link))
    },
    linkClosed(link, reason) {
      connections.add(-1, of(link))
      if (reason) losses.add(1, of(link))
    },
    stateChanged({ host, from, to }) {
      if (from !== 'disconnected') states.add(-1, { host, state: from })
      if (to !== 'disconnected') states.add(1, { host, state: to })
    },
    callSettled({ host, role }, { operation, outcome, durationMs, queuedMs }) {
      const attributes = { host, role, operation, outcome }
      calls.add(1, attributes)
      durations.record(durationMs / 1000, attributes)
      queued.record(queuedMs / 1000, { host, role, operation })
    },
    poolCounted(host, what, by) {
      if (what === 'uses') uses.add(by, { host })
      else if (what === 'waiting') waiting.add(by, { host })
      else if (what === 'failed') failures.add(by, { host })
      else pooled.add(by, { host, state: what })
    },
    poolTimed: (host, what, durationMs) => poolTimes[what].record(durationMs / 1000, { host }),
  }
}
