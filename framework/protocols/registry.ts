import { ProtocolRegistry } from './protocol.ts'
import { QgaProtocolBuilder, type QgaOptions } from './qga/index.ts'
import { QmpProtocolBuilder, type QmpProtocolOptions } from './qmp/index.ts'
import { SpiceProtocolBuilder, type SpiceProtocolOptions } from './spice/protocol.ts'
import { VirtioSerialProtocolBuilder, type VirtioSerialOptions } from './virtio-serial/index.ts'

export interface DefaultRegistryOptions {
  qmp?: QmpProtocolOptions
  qga?: QgaOptions
  spice?: SpiceProtocolOptions
  virtioSerial?: VirtioSerialOptions
}

/** A registry of its own with everything the framework speaks: `qmp`, `qga`, `spice` and every `virtio-serial:<name>`. */
export function defaultRegistry(options: DefaultRegistryOptions = {}): ProtocolRegistry {
  const registry = new ProtocolRegistry()
  registry.register(new QmpProtocolBuilder(options.qmp))
  registry.register(new QgaProtocolBuilder(options.qga))
  registry.register(new SpiceProtocolBuilder(options.spice))
  registry.register(new VirtioSerialProtocolBuilder(options.virtioSerial))
  return registry
}

/** The registry VMs use: everything the framework speaks and what plug-ins register. */
export const protocolRegistry = defaultRegistry()
