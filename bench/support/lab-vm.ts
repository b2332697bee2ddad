import { readdirSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { loadConfig } from '../../framework/config/index.ts'
import { createVm, type DesktopVm } from '../../framework/desktop/index.ts'
import { HostConnection } from '../../framework/hosts/index.ts'
import { BrokerClient } from '../../framework/leases/index.ts'
import { brokerStart } from '../../framework/runner/session.ts'
import { stateDir } from '../../framework/runner/state-dir.ts'
import { labUp } from '../../lab/index.ts'

/** A leased VM of the lab, outside any run of specs. */
export interface BenchVm {
  vm: DesktopVm
  qemuPid: number
  versions: Record<string, string>
  /** Gives it back; resolves when it is gone. */
  close(): Promise<void>
}

const ROOT = resolve(import.meta.dirname, '../..')

/** Leases a pristine VM of a machine profile, as a spec of this repository would. */
export async function openBenchVm(profile: string, log: (text: string) => void): Promise<BenchVm> {
  const config = await loadConfig(ROOT)
  await labUp({ config: config.lab ?? {}, onProgress: log })
  const run = `bench-${process.pid}-${profile}-${Date.now()}`
  const broker = await BrokerClient.connect({ stateDir: stateDir(), run, kind: 'run', start: brokerStart(config) })
  const undo: (() => unknown)[] = [() => broker.close(), () => broker.end(), () => broker.drain(run)]
  const close = async () => {
    for (const step of undo.splice(0).toReversed()) await step()
  }
  try {
    const { vms } = await broker.lease({ holder: run, vms: [{ profile }] })
    const [leased] = vms
    if (!leased) throw new Error('a lease without a VM')
    const connection = await HostConnection.open(leased.host)
    undo.push(() => connection.close())
    const vm = await createVm({ leased, host: connection })
    undo.push(() => vm.close())
    const { qemu } = await (await vm.qmp()).queryVersion()
    const libvirt = await (await connection.client('control')).libVersion()
    return {
      vm,
      qemuPid: qemuPidOf(leased.uuid),
      versions: {
        node: process.versions.node,
        qemu: `${qemu.major}.${qemu.minor}.${qemu.micro}`,
        libvirt: `${Math.floor(libvirt / 1e6)}.${Math.floor(libvirt / 1e3) % 1e3}.${libvirt % 1e3}`,
      },
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

/** libvirt starts QEMU with `-uuid <uuid>`; VM names are unique to one lab only. */
function qemuPidOf(uuid: string): number {
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue
    try {
      const args = readFileSync(`/proc/${entry}/cmdline`, 'utf8').split('\0')
      if (args[args.indexOf('-uuid') + 1] === uuid) return Number(entry)
    } catch {
      // The process ended meanwhile.
    }
  }
  throw new Error(`no QEMU process of VM ${uuid} found`)
}
