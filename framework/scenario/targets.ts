import { configError } from '../core/index.ts'
import type { Vm } from '../desktop/api.ts'
import type { VmKey } from './model/index.ts'

/**
 * The current set of VMs (scenario reference §6.3): a step that names VMs makes them the current set; a step
 * that names none acts on every connected VM of it, in name order.
 */
export class Targets {
  readonly #resolve: (key: VmKey) => Promise<Vm>
  /** What the set is before any step names a VM. */
  readonly #initial: readonly VmKey[]
  #current: Vm[] | undefined
  readonly #connected: Set<Vm>
  /** Ids of the platform's VMs that are the current set. */
  #ofPlatform: readonly string[] | undefined
  /** Id of the current desk pool. */
  pool: string | undefined

  constructor(
    resolve: (key: VmKey) => Promise<Vm>,
    initial: readonly VmKey[],
    current?: Vm[],
    connected?: Iterable<Vm>,
  ) {
    this.#resolve = resolve
    this.#initial = initial
    this.#current = current
    this.#connected = new Set(connected)
  }

  /**
   * The VMs a step acts on. Naming a VM connects it, and so does the first step when none was named.
   *
   * @throws `ATP_SCENARIO_NO_TARGET` when all VMs of the current set were disconnected.
   */
  async forStep(on: readonly string[] | undefined, connects: boolean): Promise<Vm[]> {
    if (on?.length) {
      this.#ofPlatform = undefined
      this.#current = await this.#all(on)
      for (const vm of this.#current) this.#connected.add(vm)
    } else if (!this.#current) {
      this.#current = await this.#all(this.#ofPlatform ?? this.#initial)
      for (const vm of this.#current) this.#connected.add(vm)
    } else if (connects) {
      for (const vm of this.#current) this.#connected.add(vm)
    }
    const vms = this.#current.filter((vm) => this.#connected.has(vm))
    if (vms.length > 0) return vms
    throw configError('ATP_SCENARIO_NO_TARGET', 'no VM is connected', {
      remedy: 'connect one with vm.connect, or name it with "on"',
    })
  }

  /** Makes VMs of the platform the current set. They are opened, and connected, when a step needs them. */
  become(ids: readonly string[]): void {
    this.#ofPlatform = ids
    this.#current = undefined
  }

  /** Ids of the current set, as long as it is one of the platform's. */
  get ofPlatform(): readonly string[] | undefined {
    return this.#ofPlatform
  }

  disconnect(vm: Vm): void {
    this.#connected.delete(vm)
  }

  /** A set of its own that starts out the same, for a branch that runs beside others. */
  fork(): Targets {
    const targets = new Targets(this.#resolve, this.#initial, this.#current && [...this.#current], this.#connected)
    targets.#ofPlatform = this.#ofPlatform
    targets.pool = this.pool
    return targets
  }

  async #all(keys: readonly VmKey[]): Promise<Vm[]> {
    const vms = new Set(await Promise.all(keys.map((key) => this.#resolve(key))))
    return [...vms].toSorted((a, b) => (a.name < b.name ? -1 : 1))
  }
}
