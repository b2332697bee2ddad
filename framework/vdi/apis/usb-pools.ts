import type { CallOptions } from '../../core/index.ts'
import type { Caller } from '../caller.ts'
import { type UsbInfoVO, type UsbPassThroughDto, usbPools, type UsbRedirectDto } from '../operations/usb-pools.ts'
import { allPages } from '../pages.ts'

/** USB devices of the hosts. */
export class UsbPoolsApi {
  readonly #caller: Caller

  constructor(caller: Caller) {
    this.#caller = caller
  }

  /** Devices, page by page as they are needed. */
  list(options?: CallOptions): AsyncGenerator<UsbInfoVO, void, undefined> {
    return allPages(this.#caller.assumptions.pageRows, (page) =>
      this.#caller.call(usbPools.list, { query: page }, options),
    )
  }

  /** Passes a device through to the VM `own`. */
  passThrough(device: UsbPassThroughDto, options?: CallOptions): Promise<void> {
    return this.#caller.call(usbPools.passThrough, { body: device }, options)
  }

  /** Takes a device back from a VM. */
  endPassThrough(device: UsbPassThroughDto, options?: CallOptions): Promise<void> {
    return this.#caller.call(usbPools.endPassThrough, { body: device }, options)
  }

  /** Redirects a device to a VM. */
  redirect(device: Omit<UsbRedirectDto, 'operate'>, options?: CallOptions): Promise<void> {
    return this.#caller.call(usbPools.redirect, { body: { ...device, operate: 2 } }, options)
  }

  /** Cancels a redirection. */
  cancelRedirect(device: Omit<UsbRedirectDto, 'operate'>, options?: CallOptions): Promise<void> {
    return this.#caller.call(usbPools.redirect, { body: { ...device, operate: 3 } }, options)
  }
}
