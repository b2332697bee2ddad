import type { Finding } from '../finding.ts'

/** What `atp host check` found out about one host; with `--json` an array of these is printed. */
export interface HostReport {
  id: string
  uri: string
  /** Where the host was configured, stored, or `lab`. */
  origin: string
  /** The worst of the findings. */
  state: Finding['state']
  /** Reaching the daemon, authentication included, and the median of a few small calls; milliseconds. */
  connectMs?: number
  callMs?: number
  hostname?: string
  /** Versions as `9.0.0`. */
  libvirt?: string
  qemu?: string
  /** Whether the host has hardware virtualisation for its VMs. */
  kvm?: boolean
  vms?: { total: number; running: number; agents: number }
  findings: Finding[]
}
