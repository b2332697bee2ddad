/** What `atp vdi verify` does. */
import { TransportManager } from '../hosts/index.ts'
import { compareWorlds, type WorldComparison } from '../provision/index.ts'
import { EXIT } from '../runner/exit-code.ts'
import { textTable } from './text-table.ts'
import { type VdiCommandOptions, withVdi } from './vdi-session.ts'

const TIMEOUT_MS = 60_000

/** Compares the platform with its hypervisors, and prints what differs. */
export function verify(options: VdiCommandOptions): Promise<void> {
  return withVdi(options, async ({ client, rules, foreign }) => {
    const manager = new TransportManager()
    try {
      const compared = await compareWorlds({ client, manager, rules, timeoutMs: TIMEOUT_MS })
      const comparison = without(await foreign(), compared)
      process.stdout.write(options.json ? `${JSON.stringify(comparison)}\n` : describe(comparison))
      if (comparison.differences.length > 0) process.exitCode = EXIT.failed
    } finally {
      await manager.close()
    }
  })
}

function without(foreign: ReadonlySet<string>, comparison: WorldComparison): WorldComparison {
  const differences = comparison.differences.filter(
    ({ kind, id }) => kind !== 'missing-on-platform' || !foreign.has(id),
  )
  const left = comparison.differences.length - differences.length
  return { ...comparison, domains: comparison.domains - left, differences }
}

function describe({ hosts, vms, domains, busy, differences }: WorldComparison): string {
  const busyText = busy > 0 ? `, ${busy} of them busy: their states were not compared` : ''
  const summary = `${vms} VMs of the platform${busyText}; ${domains} domains on ${hosts} ${hosts === 1 ? 'host' : 'hosts'}\n`
  if (differences.length === 0) return `no difference: ${summary}`
  const rows = differences.map(({ kind, vm, host, platform, libvirt }) => [vm, kind, host ?? '', platform, libvirt])
  const count = `${differences.length} ${differences.length === 1 ? 'difference' : 'differences'}`
  return `${textTable(['VM', 'DIFFERENCE', 'HOST', 'PLATFORM', 'LIBVIRT'], rows)}${count}: ${summary}`
}
