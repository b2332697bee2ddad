/** What `atp vdi verify` does. */
import { TransportManager } from '../hosts/index.ts'
import { compareWorlds, type WorldComparison } from '../provision/index.ts'
import { EXIT } from '../runner/exit-code.ts'
import { textTable } from './text-table.ts'
import { type VdiCommandOptions, withVdi } from './vdi-session.ts'

const TIMEOUT_MS = 60_000

/** Compares the platform with its hypervisors, and prints what differs. */
export function verify(options: VdiCommandOptions): Promise<void> {
  return withVdi(options, async ({ client, rules }) => {
    const manager = new TransportManager()
    try {
      const comparison = await compareWorlds({ client, manager, rules, timeoutMs: TIMEOUT_MS })
      process.stdout.write(options.json ? `${JSON.stringify(comparison)}\n` : describe(comparison))
      if (comparison.differences.length > 0) process.exitCode = EXIT.failed
    } finally {
      await manager.close()
    }
  })
}

function describe({ hosts, vms, domains, busy, differences }: WorldComparison): string {
  const busyText = busy > 0 ? `, ${busy} of them busy: their states were not compared` : ''
  const summary = `${vms} VMs of the platform${busyText}; ${domains} domains on ${hosts} hosts\n`
  if (differences.length === 0) return `no difference: ${summary}`
  const rows = differences.map(({ kind, vm, host, platform, libvirt }) => [vm, kind, host ?? '', platform, libvirt])
  const count = `${differences.length} ${differences.length === 1 ? 'difference' : 'differences'}`
  return `${textTable(['VM', 'DIFFERENCE', 'HOST', 'PLATFORM', 'LIBVIRT'], rows)}${count}: ${summary}`
}
