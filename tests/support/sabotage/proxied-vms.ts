import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { createVm, type DesktopVm } from '../../../framework/desktop/index.ts'
import { HostConnection } from '../../../framework/hosts/index.ts'
import { BrokerClient } from '../../../framework/leases/index.ts'
import { stateDir } from '../../../framework/runner/state-dir.ts'
import { labUp } from '../../../lab/index.ts'
import { LibvirtProxy } from './libvirt-proxy.ts'

const LEASE_TIMEOUT_MS = 300_000

/** VMs of one host of the embedded lab, and a link to that host that can be meddled with. */
export interface ProxiedVms extends AsyncDisposable {
  proxy: LibvirtProxy
  uuids: string[]
  /** A VM over a connection of its own, through the proxy. */
  open(index?: number): Promise<DesktopVm>
}

export async function leaseProxied(profile: string, count: number): Promise<ProxiedVms> {
  await labUp()
  await using stack = new AsyncDisposableStack()
  const start = { provider: pathToFileURL(resolve(import.meta.dirname, '../../../lab/index.ts')).href, config: {} }
  const run = `sabotage-${process.pid}-${Date.now()}`
  const broker = await BrokerClient.connect({ stateDir: stateDir(), run, kind: 'run', start })
  stack.defer(() => broker.close())
  stack.defer(() => broker.end())
  const vms = Array.from({ length: count }, () => ({ profile, host: 'lab-1' }))
  const lease = await broker.lease({ holder: 'sabotage', vms }, { timeoutMs: LEASE_TIMEOUT_MS })
  const [first] = lease.vms
  const target = new URL(first?.host.uri ?? '').searchParams.get('socket')
  if (!first || target === null) throw new Error('no VM of a host with a local socket')
  const folder = mkdtempSync(join(tmpdir(), 'sabotage-'))
  stack.defer(() => rmSync(folder, { recursive: true }))
  const proxy = stack.use(await LibvirtProxy.start(join(folder, 'libvirt'), target))
  const opened = stack.move()
  return {
    proxy,
    uuids: lease.vms.map(({ uuid }) => uuid),
    async open(index = 0) {
      const leased = lease.vms[index]
      if (!leased) throw new Error(`there is no VM ${index}`)
      const connection = opened.adopt(await HostConnection.open({ ...leased.host, uri: proxy.uri }), (each) =>
        each.close(),
      )
      return opened.adopt(await createVm({ leased: { ...leased, ownership: 'shared' }, host: connection }), (vm) =>
        vm.close(),
      )
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  }
}
