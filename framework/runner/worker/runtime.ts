import { inject } from 'vitest'
import { configError, Secret } from '../../core/index.ts'
import { createVm, type DesktopVm } from '../../desktop/index.ts'
import { HostConnection } from '../../hosts/index.ts'
import { BrokerClient, type Lease, type LeaseRequest, type VmRequest } from '../../leases/index.ts'
import { readSecret } from '../../config/secrets.ts'
import type { AtpContext } from '../context.ts'
import type { TestScope } from './test-scope.ts'

/**
 * What a worker process keeps across tests: one broker connection and one connection per hypervisor host. Both
 * end with the process; leases end with the test that took them.
 */
class WorkerRuntime {
  readonly context: AtpContext = inject('atp')
  #broker: Promise<BrokerClient> | undefined
  readonly #hosts = new Map<string, Promise<HostConnection>>()

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

  host(id: string, uri: string): Promise<HostConnection> {
    let host = this.#hosts.get(uri)
    if (!host) {
      host = HostConnection.open({ id, uri })
      this.#hosts.set(uri, host)
      const forget = () => this.#hosts.delete(uri)
      host.then((connection) => connection.onClose(forget), forget)
    }
    return host
  }

  /** Leases VMs for a test and opens them. Everything ends with the scope. */
  async lease(scope: TestScope, requests: VmRequest[], locks: string[] = []): Promise<DesktopVm[]> {
    const broker = await this.broker()
    const request: LeaseRequest = { holder: scope.holder, vms: requests, locks }
    scope.record({ type: 'lease', time: Date.now(), state: 'waiting', vms: [] })
    const lease = await scope.use(
      'lease',
      (signal) => broker.lease(request, { signal, timeoutMs: this.context.timeouts.lease }),
      (granted) => broker.release(granted.id),
    )
    scope.record({ type: 'lease', time: Date.now(), state: 'granted', vms: vmRecords(lease), waitMs: lease.waitMs })
    scope.defer('lease record', () => scope.record({ type: 'lease', time: Date.now(), state: 'released', vms: vmRecords(lease) }))
    return Promise.all(lease.vms.map((leased) => this.#open(scope, leased)))
  }

  async #open(scope: TestScope, leased: Lease['vms'][number]): Promise<DesktopVm> {
    const host = await this.host(leased.host.id, leased.host.uri)
    const vm = await scope.use(
      `VM ${leased.name}`,
      () =>
        createVm({
          leased,
          host,
          onDelivery: (delivery) => {
            const { latenciesMs: _, vm: name, ...record } = delivery
            scope.record({ type: 'input', time: Date.now(), vm: name, delivery: record })
          },
        }),
      (open) => open.close(),
    )
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
