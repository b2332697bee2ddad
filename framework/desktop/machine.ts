import { isAtpError, timeoutError, unsupportedError, withDeadline, type CallOptions } from '../core/index.ts'
import type { HostConnection } from '../hosts/index.ts'
import type { Ownership } from '../leases/api.ts'
import type { Domain, LifecycleEventName } from '../protocols/libvirt/index.ts'
import type { VmState } from './api.ts'
import { toPng, type Screenshot } from '../screen/index.ts'

/** What a VM needs of its host's connection. */
export type MachineHost = Pick<HostConnection, 'client' | 'target' | 'onLifecycle' | 'onReboot'>

const STATE_TIMEOUT_MS = 60_000
/** Not every change is an event, and some pass unheard; the state is asked for at least this often while waiting. */
const RECHECK_MS = 2_000

/** A change of the machine as its host reports it; `restarted`: reset by the guest or from outside. */
export type MachineEvent = LifecycleEventName | 'restarted'

/** The machine from outside, as its host's libvirt knows it. */
export class Machine {
  readonly domain: Domain
  readonly #host: MachineHost
  readonly #ownership: Ownership
  readonly #listeners = new Set<(event: MachineEvent) => void>()
  #unsubscribe: (() => Promise<void>)[] = []

  constructor(host: MachineHost, domain: Domain, ownership: Ownership) {
    this.#host = host
    this.domain = domain
    this.#ownership = ownership
  }

  /** What libvirt says now. A VM that is gone is `shutoff`: VMs of the lab end with their power. */
  async state(options: CallOptions = {}): Promise<VmState> {
    const client = await this.#control(options)
    try {
      return (await client.getState(this.domain, options)).state
    } catch (error) {
      if (isAtpError(error, 'ATP_LIBVIRT_NO_DOMAIN')) return 'shutoff'
      throw error
    }
  }

  /**
   * Resolves as soon as the VM is in that state. Default limit 60 s.
   *
   * @throws `ATP_VM_STATE_TIMEOUT` with the state last seen.
   */
  async waitForState(wanted: VmState, { signal, timeoutMs = STATE_TIMEOUT_MS }: CallOptions = {}): Promise<void> {
    const { name } = this.domain
    let seen: VmState | undefined
    try {
      await withDeadline(`${name} to be ${wanted}`, { signal, timeoutMs }, async (bound) => {
        let changed = () => {}
        const unlisten = this.listen(() => changed())
        try {
          for (;;) {
            // Armed before asking: a change between the answer and the wait is not missed.
            const change = new Promise<void>((resolve) => (changed = resolve))
            const now = await this.#stateIfReached(bound)
            seen = now ?? seen
            if (now === wanted || bound.aborted) return
            const recheck = setTimeout(changed, RECHECK_MS)
            bound.addEventListener('abort', changed, { once: true })
            await change
            bound.removeEventListener('abort', changed)
            clearTimeout(recheck)
          }
        } finally {
          unlisten()
        }
      })
    } catch (error) {
      if (!isAtpError(error, 'ATP_TIMEOUT')) throw error
      throw timeoutError(
        'ATP_VM_STATE_TIMEOUT',
        `${name} is ${seen ?? 'unknown'}, not ${wanted}, after ${timeoutMs} ms`,
        {
          cause: error,
          context: { vm: name, wanted, seen, timeoutMs },
          verdict: 'product',
        },
      )
    }
  }

  /** Undefined while the host is not connected, which is no reason to stop waiting. */
  async #stateIfReached(signal: AbortSignal): Promise<VmState | undefined> {
    try {
      return await this.state({ signal })
    } catch (error) {
      if (isAtpError(error) && error.branch === 'connect' && error.retryable) return undefined
      throw error
    }
  }

  /** Starts hearing of events; it goes on when the host's connection was lost and restored. */
  async watch(options: CallOptions = {}): Promise<void> {
    const tell = (event: MachineEvent) => {
      for (const listener of this.#listeners) listener(event)
    }
    this.#unsubscribe.push(await this.#host.onLifecycle(this.domain, ({ event }) => tell(event), options))
    this.#unsubscribe.push(await this.#host.onReboot(this.domain, () => tell('restarted'), options))
  }

  async unwatch(): Promise<void> {
    for (const unsubscribe of this.#unsubscribe.splice(0)) await unsubscribe()
  }

  /** Hears of events from {@link watch} on, until the returned function is called. */
  listen(listener: (event: MachineEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** PNG. */
  async screenshot(options: CallOptions = {}): Promise<Screenshot> {
    return toPng(await this.rawScreenshot(options))
  }

  /** As libvirt delivers it, not converted. */
  async rawScreenshot(options: CallOptions = {}): Promise<Screenshot> {
    const client = await this.#calls(options)
    return client.screenshot(this.domain, options)
  }

  async suspend(options: CallOptions = {}): Promise<void> {
    await (await this.#calls(options)).suspend(this.domain, options)
  }

  async resume(options: CallOptions = {}): Promise<void> {
    await (await this.#calls(options)).resume(this.domain, options)
  }

  /** @throws `ATP_VM_ATTACHED` for a VM that is not ours to reset. */
  async reset(options: CallOptions = {}): Promise<void> {
    this.#mustOwn('reset')
    await (await this.#calls(options)).reset(this.domain, options)
  }

  /** Asks the guest; resolves when it was asked. @throws `ATP_VM_ATTACHED` for a VM that is not ours to stop. */
  async shutdown(options: CallOptions = {}): Promise<void> {
    this.#mustOwn('shut down')
    await (await this.#calls(options)).shutdown(this.domain, options)
  }

  #control(options: CallOptions) {
    return this.#host.client('control', options)
  }

  // Whatever takes the VM's job waits with other such calls and never holds up state and events.
  #calls(options: CallOptions) {
    return this.#host.client('calls', options)
  }

  #mustOwn(verb: string): void {
    if (this.#ownership !== 'attached') return
    const { name } = this.domain
    throw unsupportedError('ATP_VM_ATTACHED', `${name} is attached and may not be ${verb}`, {
      context: { vm: name },
      remedy: 'only VMs that were made for the test may be changed; lease one without `domain`',
    })
  }
}
