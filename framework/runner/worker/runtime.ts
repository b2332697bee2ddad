import { inject } from 'vitest'
import { configError, Secret, type CallOptions } from '../../core/index.ts'
import { createVm, type DesktopVm } from '../../desktop/index.ts'
import { TransportManager, type HostInfo } from '../../hosts/index.ts'
import { BrokerClient, type Lease, type LeaseRequest, type VmRequest } from '../../leases/index.ts'
import { readSecret } from '../../config/secrets.ts'
import { hostSettingsOf, uriOf } from '../configured-hosts.ts'
import type { AtpContext } from '../context.ts'
import { workerObserver } from './metrics.ts'
import type { WorkerPlatform } from './platform.ts'
import type { TestScope } from './test-scope.ts'
import { GatewayAgents } from './verification.ts'

/** What a lease needs of whom it is for. */
export type LeaseScope = Pick<TestScope, 'holder' | 'signal' | 'use' | 'defer' | 'record' | 'lose' | 'addEvidence'> &
  Partial<Pick<TestScope, 'inputDefaults' | 'agentWish'>>

/**
 * What a worker process keeps across tests: one broker connection, and connections to the hypervisor hosts it has
 * come to use. Both end with the process; leases end with the test that took them.
 */
class WorkerRuntime {
  readonly context: AtpContext = inject('atp')
  #broker: Promise<BrokerClient> | undefined
  #platform: Promise<WorkerPlatform> | undefined
  /** Connections to hypervisor hosts. */
  readonly transport = new TransportManager({ observe: workerObserver() })

  broker(): Promise<BrokerClient> {
    this.#broker ??= BrokerClient.connect({
      stateDir: this.context.stateDir,
      run: this.context.run,
      kind: 'worker',
    }).then((client) => {
      client.onClose(() => (this.#broker = undefined))
      return client
    })
    this.#broker.catch(() => (this.#broker = undefined))
    return this.#broker
  }

  /** The VDI platform, made when it is first needed. @throws as `WorkerPlatform.open` */
  platform(): Promise<WorkerPlatform> {
    // Loaded only where it is wanted, as most projects have no platform.
    if (this.#platform) return this.#platform
    const platform = import('./platform.ts').then(({ WorkerPlatform: Platform }) => Platform.open(this))
    this.#platform = platform
    // The next test may find that the cause is mended.
    platform.catch(() => (this.#platform = undefined))
    return platform
  }

  /** Logs out of the platform: its session would live on there. All else ends with the process. */
  async close(): Promise<void> {
    // A platform that could not be opened has no session.
    const platform = await this.#platform?.catch(() => undefined)
    await platform?.client.close()
  }

  /** Opens a VM that the platform made. It ends with its pool, not with a lease. */
  openProvisioned(scope: TestScope, vm: { name: string; uuid: string; host: HostInfo }): Promise<DesktopVm> {
    return this.#open(scope, { ...vm, ownership: 'pristine', standby: false })
  }

  /**
   * Makes a host known to this worker: with the settings of the configuration, or one of the provider's by its URI.
   *
   * @throws `ATP_HOST_DUPLICATE` where two hosts have one id, `ATP_SECRET_MISSING`.
   */
  #know({ id, uri }: HostInfo): void {
    if (this.transport.hosts().some((known) => known.id === id && known.uri === uri)) return
    const configured = this.context.hosts.find((host) => host.id === id && uriOf(host) === uri)
    this.transport.addHost(configured ? hostSettingsOf(configured) : { id, uri })
  }

  /**
   * The one configured host that has a VM of this name.
   *
   * @throws `ATP_VM_MISSING`, `ATP_VM_AMBIGUOUS`.
   */
  async locate(
    name: string,
    hostId: string | undefined,
    options: CallOptions = {},
  ): Promise<{ host: HostInfo; uuid: string }> {
    const hosts = this.context.hosts
      .filter((host) => hostId === undefined || host.id === hostId)
      .map((host) => ({ id: host.id, uri: uriOf(host) }))
    for (const host of hosts) this.#know(host)
    const asked = await this.transport.executeOnHosts(
      hosts.map((host) => host.id),
      async (connection, signal) => (await connection.client('control', { signal })).listDomains({ signal }),
      { idempotent: true, ...options },
    )
    const found = asked.map((outcome, index) => {
      // The VM might be on the host that does not answer: then there would be two.
      if (outcome.status === 'rejected') throw outcome.error
      const domain = outcome.value.find((one) => one.name === name || one.uuid === name)
      return domain ? [{ host: hosts[index] as HostInfo, uuid: domain.uuid }] : []
    })
    const [first, ...more] = found.flat()
    if (first && more.length === 0) return first
    const where = hosts.map((host) => host.id).join(', ') || 'no host (none is configured)'
    throw first
      ? configError(
          'ATP_VM_AMBIGUOUS',
          `more than one host has a VM "${name}": ${found
            .flat()
            .map((one) => one.host.id)
            .join(', ')}`,
          {
            remedy: 'name the host as well',
          },
        )
      : configError('ATP_VM_MISSING', `no VM "${name}" on ${where}`, {
          remedy: 'check the name with "virsh list --all"',
        })
  }

  /** Leases VMs for a test and opens them. Everything ends with the scope. */
  async lease(scope: LeaseScope, requests: VmRequest[], locks: string[] = []): Promise<DesktopVm[]> {
    return (await this.take(scope, requests, locks)).vms
  }

  /** The same, with the lease's id. */
  async take(
    scope: LeaseScope,
    requests: VmRequest[],
    locks: string[] = [],
  ): Promise<{ id: string; vms: DesktopVm[] }> {
    const broker = await this.broker()
    const { requests: complete, attached } = await this.#complete(requests, scope.signal)
    const request: LeaseRequest = { holder: scope.holder, vms: complete, locks }
    scope.record({ type: 'lease', time: Date.now(), state: 'waiting', vms: [] })
    const lease = await scope.use(
      'lease',
      (signal) => broker.lease(request, { signal, timeoutMs: this.context.timeouts.lease }),
      (granted) => broker.release(granted.id),
    )
    // Its end takes the VMs away.
    const forget = broker.onClose((error) => scope.lose(error))
    scope.defer('watch on the broker', forget)
    scope.record({ type: 'lease', time: Date.now(), state: 'granted', vms: vmRecords(lease), waitMs: lease.waitMs })
    scope.defer('lease record', () =>
      scope.record({ type: 'lease', time: Date.now(), state: 'released', vms: vmRecords(lease) }),
    )
    const vms = await Promise.all(
      lease.vms.map((leased, index) => {
        const place = attached.get(index)
        return this.#open(scope, place ? { ...leased, uuid: place.uuid, host: place.host } : leased)
      }),
    )
    return { id: lease.id, vms }
  }

  /** Existing VMs are found on their hosts first; without a lab a named VM is an existing one. */
  async #complete(requests: VmRequest[], signal: AbortSignal) {
    const attached = new Map<number, Awaited<ReturnType<WorkerRuntime['locate']>>>()
    const complete = await Promise.all(
      requests.map(async (request, index): Promise<VmRequest> => {
        if (request.ownership !== 'attached' && this.context.lab) return request
        if (request.name === undefined) {
          throw configError('ATP_VM_UNNAMED', 'the test names no VM, and nothing here can make one', {
            remedy: "name an existing one (vmOptions: { domain: 'name' }, in YAML `on: name`), or configure a lab",
          })
        }
        const place = await this.locate(request.name, request.host, { signal })
        attached.set(index, place)
        return { ...request, ownership: 'attached', host: place.host.id }
      }),
    )
    return { requests: complete, attached }
  }

  async #open(scope: LeaseScope, leased: Lease['vms'][number]): Promise<DesktopVm> {
    this.#know(leased.host)
    const lease = await scope.use(
      `connection to host ${leased.host.id}`,
      (signal) => this.transport.getLibvirtConnection(leased.host.id, { signal }),
      (connection) => connection.release(),
    )
    const vm = await scope.use(
      `VM ${leased.name}`,
      (signal) =>
        createVm({
          signal,
          leased,
          host: lease.connection,
          agents: new GatewayAgents(this.context.verification, scope.agentWish),
          ...(scope.inputDefaults && { input: scope.inputDefaults }),
          video: this.context.video !== 'off',
          onFigures: (figures) =>
            scope.record({
              type: 'attachment',
              time: Date.now(),
              name: `${leased.name} display ${figures.display} figures`,
              contentType: 'application/json',
              text: JSON.stringify(figures, undefined, 2),
            }),
          onEncodings: (report) =>
            scope.record({
              type: 'attachment',
              time: Date.now(),
              name: `${leased.name} SPICE encodings`,
              contentType: 'application/json',
              text: JSON.stringify(report, undefined, 2),
            }),
          onDelivery: (delivery) => {
            const { vm: name, ...record } = delivery
            scope.record({
              type: 'input',
              time: Date.now(),
              vm: name,
              delivery: { ...record, latenciesMs: [...record.latenciesMs] },
            })
          },
        }),
      (open) => open.close(),
    )
    if (this.context.video !== 'off') {
      scope.addEvidence({ name: leased.name, ofFailure: true, collect: (attach) => vm.collectVideo(attach) })
    }
    scope.addEvidence({ name: leased.name, collect: (attach, signal) => vm.collectEvidence(attach, { signal }) })
    return vm
  }

  /** @throws `ATP_SECRET_UNKNOWN`, `ATP_SECRET_MISSING`. */
  secret(name: string): Secret {
    const source = this.context.secrets[name]
    if (!source) {
      throw configError('ATP_SECRET_UNKNOWN', `no secret "${name}" is configured`, {
        remedy: `add it to atp.config.ts: secrets: { '${name}': { env: 'VARIABLE' } }`,
      })
    }
    return readSecret(name, source)
  }
}

function vmRecords(lease: Lease) {
  return lease.vms.map((vm) => ({
    name: vm.name,
    uuid: vm.uuid,
    host: vm.host.id,
    ownership: vm.ownership,
    ...(vm.profile === undefined ? {} : { profile: vm.profile }),
  }))
}

let runtime: WorkerRuntime | undefined
/** The runtime of this worker process. */
export function workerRuntime(): WorkerRuntime {
  runtime ??= new WorkerRuntime()
  return runtime
}
export type { WorkerRuntime }
