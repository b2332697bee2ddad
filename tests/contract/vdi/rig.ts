/** What the tests of the contract share: a platform, a strict client of it, and the states of both worlds. */
import { randomBytes } from 'node:crypto'
import { expect, it, type TestContext } from 'vitest'
import type { Secret } from '../../../framework/core/index.ts'
import { destroyPool } from '../../../framework/provision/index.ts'
import {
  type DesktopPoolVO,
  type DomainCreateDto,
  type DomainVO,
  type Pace,
  type VdiAssumptions,
  VdiClient,
  type VdiExchange,
} from '../../../framework/vdi/index.ts'

/** Something that goes wrong on purpose. */
export interface ContractFault {
  /**
   * Of calls: `latency` of `ms`, `drop` of the connection, `http-500`, `html`, a `truncated` answer, `refuse` with
   * `code` and `reason`, `expire-token` before the call. Of their work: a VM `stuck` in busy, `fail` and `refuse-vm`
   * with `reason`, a pool with `count` desktops `fewer`, of which its event tells where there is a `reason`.
   */
  kind:
    | 'latency'
    | 'drop'
    | 'http-500'
    | 'html'
    | 'truncated'
    | 'refuse'
    | 'expire-token'
    | 'stuck'
    | 'fail'
    | 'refuse-vm'
    | 'fewer'
  /** `POST /ocloud/v1/domain/start` */
  operation: string
  /** How many calls are hit; 0 for all. Default 1. */
  times?: number
  ms?: number
  code?: number
  reason?: string
  count?: number
}

/** A platform that the contract is held against. */
export interface ContractPlatform {
  baseUrl: string
  username: string
  password: Secret
  /** How the platform behaves where the documents say nothing. */
  assumptions?: Partial<VdiAssumptions>
  /** How fast waits ask. */
  pace?: Pace
  /** Organisational unit in which users may be made. */
  group: string
  /** Storage pool in which disks may be made. */
  storagePoolId(client: VdiClient): Promise<string>
  /** Operations that its hypervisors cannot do. */
  unsupported?: readonly string[]
  /** The VMs of the hypervisors behind it, as these see them; absent where they cannot be asked. */
  machines?(): Promise<unknown>
  /** Absent where nothing can be made to fail. */
  faults?: {
    /** Returns what removes the fault. */
    set(fault: ContractFault): () => void
    /** Makes all tokens worthless. */
    expireTokens(): void
    /** Logins so far. */
    logins(): number
  }
  close(): Promise<void>
}

/** Steps that put back what a test changed; carried out last first, after failures as well. */
export type Undo = (() => Promise<unknown>)[]

/** All rows of a paged list. */
export async function all<T>(rows: AsyncIterable<T>): Promise<T[]> {
  const collected: T[] = []
  for await (const row of rows) collected.push(row)
  return collected
}

/** Name prefix of everything that the contract makes. Names are not ASCII only, as in the field. */
const PREFIX = '合同-atp'

export class Rig {
  readonly exchanges: VdiExchange[] = []
  readonly #timeoutMs: number | undefined
  #platform: ContractPlatform | undefined
  #client: VdiClient | undefined
  readonly #others: VdiClient[] = []

  /** @param timeoutMs milliseconds that one scenario may take; default Vitest's */
  constructor(timeoutMs?: number) {
    this.#timeoutMs = timeoutMs
  }

  async open(platform: ContractPlatform): Promise<void> {
    this.#platform = platform
    this.#client = this.newClient()
    await this.#client.login()
  }

  async close(): Promise<void> {
    for (const client of this.#others.splice(0)) await client.close()
    await this.#platform?.close()
  }

  get platform(): ContractPlatform {
    if (!this.#platform) throw new Error('there is no platform yet')
    return this.#platform
  }

  get client(): VdiClient {
    if (!this.#client) throw new Error('there is no client yet')
    return this.#client
  }

  /** A further client of the platform, with a session of its own. */
  newClient(changes: Partial<ConstructorParameters<typeof VdiClient>[0]> = {}): VdiClient {
    const { baseUrl, username, password, assumptions, pace } = this.platform
    const client = new VdiClient({
      baseUrl,
      username,
      password,
      pace,
      validation: 'strict',
      observe: (exchange) => this.exchanges.push(exchange),
      ...changes,
      assumptions: { ...assumptions, ...changes.assumptions },
    })
    this.#others.push(client)
    return client
  }

  /** Exchanges of an operation while `work` ran. */
  async during(operation: string, work: () => Promise<unknown>): Promise<VdiExchange[]> {
    const from = this.exchanges.length
    await work()
    return this.exchanges.slice(from).filter((exchange) => exchange.operation === operation)
  }

  /** A test that leaves both worlds as they were. */
  scenario(name: string, work: (undo: Undo, context: TestContext) => Promise<void>): void {
    it(name, { timeout: this.#timeoutMs }, async (context) => {
      const before = await this.worlds()
      const undo: Undo = []
      try {
        await work(undo, context)
      } finally {
        for (const step of undo.toReversed()) await step()
      }
      expect(await this.worlds()).toEqual(before)
    })
  }

  /** What there is on the platform, and on the hypervisors behind it. */
  async worlds(): Promise<unknown> {
    const { client } = this
    const of = <T extends object>(rows: T[], ...fields: (keyof T)[]) =>
      rows.map((row) => fields.map((field) => String(row[field])).join(' ')).sort()
    return {
      domains: of(await client.domains.listAll(), 'id', 'name', 'status', 'userId', 'desktopPoolId'),
      pools: of(await client.deskPools.listAll(), 'id', 'name', 'status', 'enabled', 'amount', 'curModelId'),
      models: of(await client.models.listAll(), 'id', 'name'),
      hosts: of(await client.hosts.listAll(), 'id', 'name', 'status'),
      users: of(await all(client.users.list({ group: this.platform.group })), 'sAMAccountName'),
      volumes: of(await all(client.domains.disks.volumes()), 'name', 'size', 'domainId'),
      recycled: of(await all(client.domains.recycleBin.list()), 'id', 'name'),
      machines: await this.platform.machines?.(),
    }
  }

  /** A name that nothing else has. */
  newName(): string {
    return `${PREFIX}-${randomBytes(4).toString('hex')}`
  }

  /** A VM that is off. */
  async newVm(undo: Undo, changes: Partial<DomainCreateDto> = {}): Promise<DomainVO> {
    const { domains } = this.client
    const id = await domains.create({
      name: this.newName(),
      autoJoinDomain: 0,
      bootloader: 'bios',
      cores: 1,
      cpu: 1,
      graphicsCardNum: 1,
      mainBoard: 'pc',
      memory: 128,
      sockets: 1,
      threads: 1,
      vgpuType: 'qxl',
      ...changes,
    })
    undo.push(() => this.deleteVms([id]))
    return domains.get(id)
  }

  /** A desk pool with its desktops, which are off; its name is also the prefix of theirs. */
  async newPool(undo: Undo, amount: number): Promise<{ pool: DesktopPoolVO; domains: DomainVO[]; eventId: string }> {
    const { client } = this
    const [model] = await client.models.listAll()
    const name = this.newName()
    undo.push(() => this.deletePool(name))
    const { eventId } = await client.deskPools.create({
      name,
      amount,
      type: 0,
      domainPrefix: name,
      modelId: model?.id,
    })
    return { ...(await client.deskPools.waitForPool(name, amount, { events: [eventId] })), eventId }
  }

  async deletePool(name: string): Promise<void> {
    // Its desktops may be in the making still.
    await destroyPool({ client: this.client, pool: { name } })
  }

  async deleteVms(ids: string[]): Promise<void> {
    const { domains } = this.client
    const there = (await domains.listAll()).filter(({ id }) => ids.includes(id))
    if (there.length === 0) return
    await this.switchOff(there)
    await domains.delete(there.map(({ id }) => id))
  }

  async switchOff(vms: DomainVO[]): Promise<void> {
    const { domains } = this.client
    const on = vms.filter(({ status }) => status !== 0).map(({ id }) => id)
    if (on.length === 0) return
    const { events } = await domains.close(on, { force: true })
    await domains.waitForStatus(on, 'off', { events })
  }
}
