/** Metrics of hosts as OpenTelemetry instruments. What needs OpenTelemetry's SDK is loaded apart: `prometheus.ts`. */
export { hostInstruments, METER_NAME } from './host-instruments.ts'
export { MetricsEndpoint, type EndpointOptions } from './endpoint.ts'
export { RelayServer } from './relay-server.ts'
export type { RelayAddress } from './relay-client.ts'
