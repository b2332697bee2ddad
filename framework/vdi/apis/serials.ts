import type { CallOptions } from '../../core/index.ts'
import type { Caller } from '../caller.ts'
import {
  type DomainSerialAddDto,
  type DomainSerialDeviceVO,
  serials,
  type ServerSerialVO,
} from '../operations/serials.ts'

/** Serial ports of VMs. */
export class SerialsApi {
  readonly #caller: Caller

  constructor(caller: Caller) {
    this.#caller = caller
  }

  /** Serial ports of a VM. */
  list(domainId: string, options?: CallOptions): Promise<DomainSerialDeviceVO[]> {
    return this.#caller.call(serials.list, { path: { id: domainId } }, options)
  }

  /** Ports of other VMs that a port of this VM can be linked to. */
  targets(domainId: string, options?: CallOptions): Promise<ServerSerialVO[]> {
    return this.#caller.call(serials.targets, { path: { id: domainId } }, options)
  }

  /** Gives a VM a serial port. */
  create(domainId: string, port: DomainSerialAddDto, options?: CallOptions): Promise<void> {
    return this.#caller.call(serials.create, { path: { id: domainId }, body: port }, options)
  }

  /** Changes a serial port. */
  update(domainId: string, serialId: number, port: DomainSerialAddDto, options?: CallOptions): Promise<void> {
    const path = { domainId, serialId: String(serialId) }
    return this.#caller.call(serials.update, { path, body: port }, options)
  }

  /** Deletes a serial port. */
  delete(domainId: string, serialId: number, options?: CallOptions): Promise<void> {
    return this.#caller.call(serials.delete, { path: { domainId, serialId: String(serialId) } }, options)
  }
}
