import { appendFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { sleep, type CallOptions } from '../../../framework/core/index.ts'
import type { HostDescription, OwnerTag, VmProvider } from '../../../framework/leases/api.ts'

export interface FakeConfig {
  /** The "hypervisors": one file a VM, so that VMs outlive a killed broker. */
  dir: string
  hosts: HostDescription[]
  profiles?: string[]
  createMs?: number
  destroyMs?: number
  recycleMs?: number
  /** Hosts on which no VM can be made. */
  broken?: string[]
  /** Rejection of `hosts()`. */
  down?: string
  recycles?: boolean
}

export interface FakeEvent {
  at: number
  event: 'create' | 'created' | 'destroy' | 'destroyed' | 'own' | 'recycle'
  host: string
  name: string
}

interface FakeVm {
  host: string
  name: string
  uuid: string
  owner: OwnerTag
}

/** Provider whose VMs are files. Everything it is asked to do is recorded in `events.jsonl`. */
export class FakeProvider implements VmProvider {
  readonly id = 'fake'
  readonly profiles: string[] | undefined
  readonly config: FakeConfig
  recycle: VmProvider['recycle']
  /** VMs whose destruction fails this many times. */
  readonly stubborn = new Map<string, number>()

  constructor(config: FakeConfig) {
    this.config = config
    this.profiles = config.profiles
    mkdirSync(join(config.dir, 'vms'), { recursive: true })
    if (config.recycles) {
      this.recycle = async ({ host, name, uuid }, owner) => {
        this.#note('recycle', host, name)
        await sleep(config.recycleMs ?? 1)
        this.#save({ host, name, uuid, owner })
      }
    }
  }

  async hosts(): Promise<HostDescription[]> {
    if (this.config.down) throw new Error(this.config.down)
    return this.config.hosts
  }

  nameOf(index: number): string {
    return `vm-${String(index).padStart(3, '0')}`
  }

  async create(
    { host, name, owner }: { host: string; name: string; owner: OwnerTag },
    options?: CallOptions,
  ): Promise<{ uuid: string }> {
    this.#note('create', host, name)
    if (this.config.broken?.includes(host)) throw new Error(`${host} is out of order`)
    if (this.read().some((vm) => vm.name === name)) throw new Error(`${name} exists`)
    const uuid = crypto.randomUUID()
    this.#save({ host, name, uuid, owner })
    try {
      await sleep(this.config.createMs ?? 1, options?.signal)
    } catch (error) {
      this.#remove(uuid)
      throw error
    }
    this.#note('created', host, name)
    return { uuid }
  }

  async own({ uuid }: { host: string; uuid: string }, owner: OwnerTag): Promise<void> {
    const vm = this.read().find((one) => one.uuid === uuid)
    if (!vm) throw new Error(`no domain ${uuid}`)
    this.#note('own', vm.host, vm.name)
    this.#save({ ...vm, owner })
  }

  async destroy({ uuid }: { host: string; uuid: string }): Promise<void> {
    const vm = this.read().find((one) => one.uuid === uuid)
    if (!vm) return
    const left = this.stubborn.get(vm.name) ?? 0
    if (left > 0) {
      this.stubborn.set(vm.name, left - 1)
      throw new Error(`${vm.name} does not want to go`)
    }
    this.#note('destroy', vm.host, vm.name)
    await sleep(this.config.destroyMs ?? 1)
    this.#remove(uuid)
    this.#note('destroyed', vm.host, vm.name)
  }

  async list(): Promise<FakeVm[]> {
    return this.read()
  }

  async close(): Promise<void> {}

  /** The VMs that exist. */
  read(): FakeVm[] {
    const dir = join(this.config.dir, 'vms')
    return readdirSync(dir).flatMap((file) => {
      try {
        return [JSON.parse(readFileSync(join(dir, file), 'utf8')) as FakeVm]
      } catch {
        // Removed or half written by another process meanwhile.
        return []
      }
    })
  }

  events(): FakeEvent[] {
    return readFileSync(join(this.config.dir, 'events.jsonl'), 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as FakeEvent)
  }

  #save(vm: FakeVm): void {
    writeFileSync(join(this.config.dir, 'vms', `${vm.uuid}.json`), JSON.stringify(vm))
  }
  #remove(uuid: string): void {
    rmSync(join(this.config.dir, 'vms', `${uuid}.json`), { force: true })
  }
  #note(event: FakeEvent['event'], host: string, name: string): void {
    appendFileSync(join(this.config.dir, 'events.jsonl'), `${JSON.stringify({ at: Date.now(), event, host, name })}\n`)
  }
}

export async function createProvider(config: FakeConfig): Promise<VmProvider> {
  return new FakeProvider(config)
}
