import { type CallOptions, remoteError } from '../core/index.ts'
import type { DomainVO, VdiClient } from '../vdi/index.ts'
import type { VmRemoval } from './api.ts'
import { whenThere } from './destroy-pool.ts'
import { timeLeft } from './time-left.ts'
import { powerOff, seeGone, untilGone } from './until-gone.ts'

const TIMEOUT_MS = 60_000

/**
 * Destroys a VM, whatever it does, and sees that it is gone. Does nothing where there is no such VM, so that it may be
 * called again.
 *
 * @returns whether there was something to destroy
 * @throws `ATP_VDI_AMBIGUOUS` for several of the name, of which none is touched; as `destroyPool`
 */
export async function destroyVm(removal: VmRemoval): Promise<boolean> {
  const { client, locator, signal, timeoutMs = TIMEOUT_MS } = removal
  const left = timeLeft(timeoutMs, signal)
  const first = await whenThere(removal.mayAppear, left, (options) => find(client, removal.vm, options))
  if (!first) return false
  const { id, name } = first
  const what = `VM ${name}`
  let vm: DomainVO | undefined = first
  await untilGone({
    what,
    context: { vm: id, name },
    left,
    timeoutMs,
    signal,
    busy: () => vm !== undefined && client.assumptions.busyStatuses.includes(vm.status),
    async round() {
      vm = await find(client, { id }, left())
      if (!vm) return true
      await powerOff(client, [vm], left)
      await client.domains.delete([id], left())
      return false
    },
  })
  if (locator) await seeGone(what, (bounds) => locator.remaining([first], bounds), left())
  return true
}

async function find(client: VdiClient, vm: VmRemoval['vm'], options: CallOptions): Promise<DomainVO | undefined> {
  if ('id' in vm) return (await client.domains.listAll({}, options)).find(({ id }) => id === vm.id)
  const found = (await client.domains.listAll({ keyword: vm.name }, options)).filter(({ name }) => name === vm.name)
  if (found.length < 2) return found[0]
  const ids = found.map(({ id }) => id)
  throw remoteError('ATP_VDI_AMBIGUOUS', `the platform has ${ids.length} VMs named ${vm.name}: ${ids.join(', ')}`, {
    context: { name: vm.name, ids },
    remedy: 'remove the right one on the platform',
  })
}
