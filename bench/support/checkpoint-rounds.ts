import { createVm, type DesktopVm } from '../../framework/desktop/index.ts'
import { TransportManager } from '../../framework/hosts/index.ts'
import { BrokerClient, type VmRequest } from '../../framework/leases/index.ts'
import type { OwnLab } from './own-lab.ts'

/** Milliseconds of each round. */
export interface CheckpointSamples {
  /** From the request of a pristine VM until a user is at work in it. */
  prepare: number[]
  /** Saving it. */
  save: number[]
  /** From the request of a VM in that state until its agent answers. */
  restore: number[]
}

const AGENT_TIMEOUT_MS = 60_000
/** What a user does who logs in: keys, a session, programs of it. */
const LOGIN = 'export USER=alice; sh -c "sleep 0.2; echo ready > /tmp/session" &\n'

/** Prepares a machine, saves it and leases it from what was saved, as a run does; each round has a checkpoint of its own. */
export async function checkpointRounds(
  lab: OwnLab,
  { rounds, log }: { rounds: number; log: (text: string) => void },
): Promise<CheckpointSamples> {
  const samples: CheckpointSamples = { prepare: [], save: [], restore: [] }
  const { brokerDir: stateDir, brokerStart: start } = lab
  const broker = await BrokerClient.connect({ stateDir, run: 'bench', kind: 'run', start })
  const manager = new TransportManager()
  for (const { id, uri } of broker.hosts) manager.addHost({ id, uri })
  /** Leases a VM, has it used, and gives it back. */
  const withVm = async (request: VmRequest, use: (vm: DesktopVm, lease: string) => Promise<void>) => {
    const { id, vms } = await broker.lease({ holder: 'bench', vms: [request] }, { signal: lab.signal })
    try {
      for (const leased of vms) {
        const pooled = await manager.getLibvirtConnection(leased.host.id)
        const vm = await createVm({ leased, host: pooled.connection })
        try {
          await use(vm, id)
        } finally {
          await vm.close()
          pooled.release()
        }
      }
    } finally {
      await broker.release(id)
    }
  }
  try {
    for (let round = 0; round < rounds; round += 1) {
      const key = `bench-${round}`
      const claim = await broker.checkpoint(key)
      if (claim.ready) throw new Error(`${key} is there already`)
      const begun = performance.now()
      await withVm({ ownership: 'shared' }, async (vm, lease) => {
        await vm.keyboard.type(LOGIN, { verify: 'require' })
        await vm.guest.shell('until [ -e /tmp/session ]; do usleep 20000; done')
        samples.prepare.push(performance.now() - begun)
        await vm.close()
        const saving = performance.now()
        await broker.keepCheckpoint(claim.claim, lease)
        samples.save.push(performance.now() - saving)
      })
      const asked = performance.now()
      await withVm({ checkpoint: key }, async (vm) => {
        await vm.guest.ping({ timeoutMs: AGENT_TIMEOUT_MS })
        samples.restore.push(performance.now() - asked)
      })
      const last = Object.entries(samples).map(([name, values]) => `${name} ${values.at(-1)?.toFixed(0)} ms`)
      log(`checkpoint ${round + 1}/${rounds}: ${last.join(', ')}`)
    }
    return samples
  } finally {
    await manager.close()
    await broker.drain('bench')
    await broker.end()
    broker.close()
  }
}
