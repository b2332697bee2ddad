import { isAtpError } from '../../core/index.ts'
import type { DesktopVm } from '../../desktop/index.ts'
import type { VmRecord } from '../../evidence/events.ts'
import type { HostInfo, TransportManager } from '../../hosts/index.ts'
import type { BrokerClient } from '../../leases/index.ts'
import {
  createPool,
  destroyPool,
  destroyVm,
  Locator,
  type LocatedVm,
  type MadeOnPlatform,
  newPoolName,
  type PoolRemoval,
} from '../../provision/index.ts'
import { VdiClient, type DomainVO } from '../../vdi/index.ts'
import { neededVdi } from '../configured-vdi.ts'
import type { AtpContext } from '../context.ts'
import type { PlatformDoor } from '../lab-platform.ts'
import { configuredPlatform, standInPlatform, type UsedPlatform } from '../used-platform.ts'
import { askLabPlatform } from './ask-lab-platform.ts'
import type { TestScope } from './test-scope.ts'

/**
 * What a test may do with the platform: all of `VdiClient` but its end, which is the worker's. Its session is shared by
 * all tests of the worker.
 */
export type Vdi = Omit<VdiClient, 'login' | 'logout' | 'close' | typeof Symbol.asyncDispose>

/** What the platform uses of its worker. */
export interface PlatformWorker {
  readonly context: AtpContext
  /** Connections to hypervisor hosts. */
  readonly transport: TransportManager
  broker(): Promise<BrokerClient>
  /** Opens a VM that the platform made, for the life of the scope. */
  openProvisioned(scope: TestScope, vm: { name: string; uuid: string; host: HostInfo }): Promise<DesktopVm>
}

/** Makes something on the platform until the signal aborts. */
type Create<T> = (signal: AbortSignal) => Promise<T>

/** The VDI platform as one worker process uses it. Made when the first test needs it. */
export class WorkerPlatform {
  readonly client: VdiClient
  readonly template: string | undefined
  readonly #worker: PlatformWorker
  readonly #used: UsedPlatform
  readonly #locator: Locator

  private constructor(worker: PlatformWorker, used: UsedPlatform) {
    this.#worker = worker
    this.#used = used
    this.template = used.template
    this.client = new VdiClient(used.client)
    this.#locator = new Locator({ client: this.client, manager: worker.transport, rules: used.rules })
  }

  /**
   * The platform of the configuration; the lab's stand-in starts if it does not run.
   *
   * @throws `ATP_VDI_UNCONFIGURED`, `ATP_SECRET_MISSING`, `ATP_CONFIG_INVALID`, `ATP_LAB_PLATFORM_START`
   */
  static async open(worker: PlatformWorker): Promise<WorkerPlatform> {
    const { vdi, configFile, hosts, platformDoor, timeouts } = worker.context
    const settings = neededVdi(vdi, configFile)
    if (settings !== 'lab') return new WorkerPlatform(worker, configuredPlatform(settings, hosts))
    const access = await askLabPlatform(platformDoor as PlatformDoor, { timeoutMs: timeouts.lease })
    return new WorkerPlatform(worker, standInPlatform(access))
  }

  /** The client as a test sees it. */
  view(): Vdi {
    const { assumptions, domains, deskPools, hosts, models, users, events, usbPools, serials } = this.client
    const call: Vdi['call'] = (operation, input, options) => this.client.call(operation, input, options)
    const timestampMs: Vdi['timestampMs'] = (value) => this.client.timestampMs(value)
    return { assumptions, domains, deskPools, hosts, models, users, events, usbPools, serials, call, timestampMs }
  }

  /** Whether the platform has a template with this id or name. */
  async hasTemplate(idOrName: string, signal: AbortSignal): Promise<boolean> {
    const templates = await this.client.models.listAll({}, { signal })
    return templates.some(({ id, name }) => id === idOrName || name === idOrName)
  }

  /** Makes a pool whose VMs run, and opens them, in the order of their names. All of it ends with the scope. */
  async provision(scope: TestScope, wish: { count: number; template: string | undefined }): Promise<DesktopVm[]> {
    // The run's own digits; reports cut long names, and all begin alike.
    const name = newPoolName(this.#worker.context.run.split('-').at(-1) as string)
    const template = wish.template ?? this.template
    const since = performance.now()
    scope.record({ type: 'lease', time: Date.now(), state: 'waiting', vms: [] })
    const pool = await this.ownedPool(scope, name, (signal) =>
      createPool({
        client: this.client,
        locator: this.#locator,
        ...(template === undefined ? {} : { template }),
        count: wish.count,
        name,
        signal,
        timeoutMs: this.#worker.context.timeouts.lease,
      }),
    )
    this.#report(scope, pool.vms, { profile: pool.template.name, waitMs: performance.now() - since })
    return Promise.all(pool.vms.map((vm) => this.#open(scope, vm)))
  }

  /**
   * Has `create` make the pool of this name. It is destroyed at the end of the scope; if this process ends before, by
   * the broker.
   */
  ownedPool<T extends { id: string }>(scope: TestScope, name: string, create: Create<T>): Promise<T> {
    return this.#owned(scope, `desk pool "${name}"`, { poolName: name }, create, (pool, bounds) =>
      destroyPool({ ...bounds, pool }),
    )
  }

  /** Has `create` make the VM of this name; as {@link WorkerPlatform.ownedPool}. */
  ownedVm<T extends { id: string }>(scope: TestScope, name: string, create: Create<T>): Promise<T> {
    return this.#owned(scope, `VM "${name}"`, { vmName: name }, create, (vm, bounds) => destroyVm({ ...bounds, vm }))
  }

  async #owned<T extends { id: string }>(
    scope: TestScope,
    what: string,
    made: MadeOnPlatform,
    create: Create<T>,
    destroy: (made: { id: string }, bounds: Pick<PoolRemoval, 'client' | 'locator'>) => Promise<unknown>,
  ): Promise<T> {
    const broker = await this.#worker.broker()
    const withdraw = await broker.will(this.#used.will(what, made))
    const make = async (signal: AbortSignal) => {
      try {
        return await create(signal)
      } catch (error) {
        // Where something may be left, the will stays.
        if (!isAtpError(error) || error.context['cleanUp'] === undefined) await withdraw()
        throw error
      }
    }
    return scope.use(what, make, async ({ id }) => {
      // By its id: when a step has deleted it, somebody else may have the name.
      await destroy({ id }, { client: this.client, locator: this.#locator })
      await withdraw()
    })
  }

  /** Opens a VM of the platform on its hypervisor. @throws as `VmLocator.locate` */
  async open(scope: TestScope, vm: DomainVO, signal: AbortSignal): Promise<DesktopVm> {
    const located = await this.#locator.locate(vm, { signal })
    this.#report(scope, [located])
    return this.#open(scope, located)
  }

  #open(scope: TestScope, { vm, domain, host }: LocatedVm): Promise<DesktopVm> {
    return this.#worker.openProvisioned(scope, { name: vm.name, uuid: domain.uuid, host })
  }

  /** For the reports these are VMs of the test as those of a lease are. */
  #report(scope: TestScope, located: readonly LocatedVm[], of: { profile?: string; waitMs?: number } = {}): void {
    const { waitMs, ...profile } = of
    const vms = located.map(({ vm, domain, host }): VmRecord => {
      return { name: vm.name, uuid: domain.uuid, host: host.id, ownership: 'pristine', ...profile }
    })
    const waited = waitMs === undefined ? {} : { waitMs }
    scope.record({ type: 'lease', time: Date.now(), state: 'granted', vms, ...waited })
  }
}
