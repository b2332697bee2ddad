import pLimit, { type LimitFunction } from 'p-limit'
import { interrupted, logger, messageOf, remoteError, sleep, type CallOptions } from '../core/index.ts'
import type { CheckpointStore, OwnerTag, VmProvider } from './api.ts'
import type { Journal } from './journal.ts'
import type { TaggedVm } from './sweep.ts'

/** Run id in the owner tag of standbys. */
export const STANDBY_RUN = 'standby'

/** Whose a VM is. */
export interface Owner {
  run: string
  lease: string
}

export interface FleetVm {
  readonly name: string
  host: string
  profile: string | undefined
  owner: Owner
  /** Undefined while it is being made. */
  uuid: string | undefined
  /** The last failed attempt to destroy it. */
  trouble?: string
}

export interface FleetOptions {
  provider: VmProvider
  journal: Journal
  /** VMs made at the same time on one host. */
  createsPerHost: number
  createTimeoutMs: number
  /** How long an owner tag stays valid without renewal. */
  tagLifeMs: number
}

const DESTROYS_PER_HOST = 4
const RECYCLE_TIMEOUT_MS = 30_000
const SAVE_TIMEOUT_MS = 120_000
const FIRST_RETRY_MS = 250
const LONGEST_RETRY_MS = 10_000
const log = logger('leases')

/**
 * The VMs that exist through this broker. The only place that makes, hands over or destroys any; every change is
 * journalled, the making of a VM before it begins.
 */
export class Fleet {
  readonly #options: FleetOptions
  readonly #vms = new Map<string, FleetVm>()
  readonly #destroying = new Map<string, Promise<void>>()
  readonly #creates = new Map<string, LimitFunction>()
  readonly #destroys = new Map<string, LimitFunction>()
  readonly #watchers = new Set<() => void>()
  readonly #renewal: NodeJS.Timeout

  constructor(options: FleetOptions) {
    this.#options = options
    this.#renewal = setInterval(() => void this.#renew(), options.tagLifeMs / 2)
    this.#renewal.unref()
  }

  get vms(): ReadonlyMap<string, FleetVm> {
    return this.#vms
  }

  /** Whether this very VM is one of the fleet, in the making included. */
  knows(vm: Pick<TaggedVm, 'name' | 'host' | 'uuid'>): boolean {
    const own = this.#vms.get(vm.name)
    return own !== undefined && own.host === vm.host && (own.uuid === undefined || own.uuid === vm.uuid)
  }

  /**
   * Makes a VM.
   *
   * @throws `ATP_LEASE_CREATE` (infrastructure); nothing is left of the VM then.
   */
  async make(
    place: { name: string; host: string; profile: string | undefined; checkpoint: string | undefined },
    owner: Owner,
    signal: AbortSignal,
  ): Promise<void> {
    const { provider, journal, createTimeoutMs, createsPerHost } = this.#options
    const { name, host, profile, checkpoint } = place
    await limitOf(
      this.#creates,
      host,
      createsPerHost,
    )(async () => {
      if (signal.aborted) throw interrupted(`making ${name}`, signal)
      const vm: FleetVm = { name, host, profile, owner, uuid: undefined }
      const profiled = profile === undefined ? {} : { profile }
      try {
        journal.write({ event: 'intent', name, host, ...profiled, ...owner })
        this.#vms.set(name, vm)
        const { uuid } = await provider.create(
          { host, name, ...profiled, ...(checkpoint === undefined ? {} : { checkpoint }), owner: this.#tag(owner) },
          { signal, timeoutMs: createTimeoutMs },
        )
        vm.uuid = uuid
        journal.note({ event: 'created', name, uuid })
      } catch (error) {
        this.#forget(vm)
        throw remoteError('ATP_LEASE_CREATE', `${name} could not be made on ${host}: ${messageOf(error)}`, {
          cause: error,
          retryable: true,
          context: { vm: name, host, profile },
          verdict: 'infrastructure',
        })
      }
    })
  }

  /** Makes an existing VM somebody else's. */
  async hand(name: string, owner: Owner): Promise<void> {
    const vm = this.#existing(name)
    await this.#options.provider.own({ host: vm.host, uuid: vm.uuid }, this.#tag(owner))
    this.#nowOf(vm, owner)
  }

  /** Resets a VM in place; it is a standby then. After a rejection it must be destroyed. */
  async recycle(name: string): Promise<void> {
    const vm = this.#existing(name)
    const owner = { run: STANDBY_RUN, lease: '' }
    const { host, uuid, profile } = vm
    await this.#options.provider.recycle?.(
      { host, name, uuid, ...(profile === undefined ? {} : { profile }) },
      this.#tag(owner),
      { timeoutMs: RECYCLE_TIMEOUT_MS },
    )
    this.#nowOf(vm, owner)
  }

  /**
   * Saves a VM as a checkpoint; it is gone then, and still to be destroyed for its name to be free.
   *
   * @throws `ATP_LEASE_VM_GONE`, what the provider throws.
   */
  async save(name: string, store: CheckpointStore, id: string): Promise<number> {
    const { host, uuid, owner } = this.#existing(name)
    return store.save({ host, uuid }, { id, owner: this.#tag(owner) }, { timeoutMs: SAVE_TIMEOUT_MS })
  }

  /** Destroys a VM; tries again until it is gone or `signal` aborts. Never rejects for the provider's errors. */
  destroy(name: string, signal?: AbortSignal): Promise<void> {
    const vm = this.#vms.get(name)
    if (!vm || vm.uuid === undefined) return Promise.resolve()
    let under = this.#destroying.get(name)
    if (!under) {
      under = this.#destroy(vm as FleetVm & { uuid: string }, signal).finally(() => this.#destroying.delete(name))
      this.#destroying.set(name, under)
    }
    return under
  }

  /** Takes over a tagged VM of a dead broker that could not be destroyed yet. */
  inherit({ name, host, uuid, owner }: TaggedVm): void {
    this.#vms.set(name, { name, host, profile: undefined, uuid, owner: { run: owner.run, lease: owner.lease } })
  }

  /** Resolves when no VM meets the condition any more. */
  whenNone(which: (vm: FleetVm) => boolean, { signal }: CallOptions = {}): Promise<void> {
    return new Promise((resolve, reject) => {
      const stop = () => {
        this.#watchers.delete(look)
        signal?.removeEventListener('abort', onAbort)
      }
      const look = () => {
        if ([...this.#vms.values()].some(which)) return
        stop()
        resolve()
      }
      const onAbort = () => {
        stop()
        reject(interrupted('waiting for VMs to be gone', signal))
      }
      if (signal?.aborted) return onAbort()
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#watchers.add(look)
      look()
    })
  }

  close(): void {
    clearInterval(this.#renewal)
  }

  async #destroy(vm: FleetVm & { uuid: string }, signal: AbortSignal | undefined): Promise<void> {
    for (let pauseMs = FIRST_RETRY_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_RETRY_MS)) {
      try {
        await limitOf(
          this.#destroys,
          vm.host,
          DESTROYS_PER_HOST,
        )(() => this.#options.provider.destroy({ host: vm.host, uuid: vm.uuid }))
        return this.#forget(vm)
      } catch (error) {
        vm.trouble = messageOf(error)
        log.error(`${vm.name} on ${vm.host} could not be destroyed, trying again: ${vm.trouble}`)
      }
      await sleep(pauseMs, signal)
    }
  }

  #existing(name: string): FleetVm & { uuid: string } {
    const vm = this.#vms.get(name)
    if (vm?.uuid === undefined) throw remoteError('ATP_LEASE_VM_GONE', `${name} does not exist any more`)
    return vm as FleetVm & { uuid: string }
  }

  #nowOf(vm: FleetVm, owner: Owner): void {
    vm.owner = owner
    this.#options.journal.note({ event: 'owned', name: vm.name, ...owner })
    this.#changed()
  }

  #forget(vm: FleetVm): void {
    if (this.#vms.get(vm.name) === vm) {
      this.#vms.delete(vm.name)
      this.#options.journal.note({ event: 'destroyed', name: vm.name })
    }
    this.#changed()
  }

  #changed(): void {
    for (const look of this.#watchers) look()
  }

  #tag(owner: Owner): OwnerTag {
    return { ...owner, pid: process.pid, expires: Date.now() + this.#options.tagLifeMs }
  }

  async #renew(): Promise<void> {
    await Promise.all(
      [...this.#vms.values()].map(async ({ name, host, uuid, owner }) => {
        if (uuid === undefined || this.#destroying.has(name)) return
        await this.#options.provider
          .own({ host, uuid }, this.#tag(owner))
          .catch((error: unknown) => log.warn(`the owner tag of ${name} could not be renewed: ${messageOf(error)}`))
      }),
    )
  }
}

function limitOf(limits: Map<string, LimitFunction>, host: string, concurrency: number): LimitFunction {
  let limit = limits.get(host)
  if (!limit) limits.set(host, (limit = pLimit(concurrency)))
  return limit
}
