/** Metrics of hosts as OpenTelemetry instruments, for programs with an OpenTelemetry SDK of their own. */
export { hostInstruments, METER_NAME } from './host-instruments.ts'
