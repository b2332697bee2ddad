export { SpicePort } from './spice-port.ts'
export { SpicePorts } from './spice-ports.ts'
