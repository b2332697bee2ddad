import { mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { CallOptions } from '../../framework/core/index.ts'
import { labPaths } from '../paths.ts'
import type { LabConfig } from '../provider.ts'
import { LibvirtWorld } from './libvirt-world.ts'
import { MemoryWorld } from './memory-world.ts'
import { startPlatform, type Platform } from './platform.ts'

export interface ServeOptions extends CallOptions {
  /** SQLite file. Default: `platform/platform.db` in the lab's home. */
  database?: string
  /** Default: any free one. */
  port?: number
  /** How many hosts it has. Default: those of the lab. */
  hosts?: number
  /** The lab whose hosts it has. */
  config?: LabConfig
  /** No real VMs. */
  memory?: boolean
  onProgress?: (text: string) => void
}

/**
 * The stand-in platform with a database on disk: VMs and users outlive it, also when it is killed.
 *
 * @throws `ATP_LAB_PLATFORM_BUSY` when a live platform has the database, and what starting the lab throws.
 */
export async function servePlatform(options: ServeOptions = {}): Promise<Platform & { database: string }> {
  const { hosts, config, port, memory = false, signal, timeoutMs, onProgress } = options
  const database = options.database ?? join(labPaths().home, 'platform', 'platform.db')
  await mkdir(dirname(database), { recursive: true, mode: 0o700 })
  const world = memory ? new MemoryWorld(hosts) : new LibvirtWorld({ ...config, ...(hosts && { hosts }) }, onProgress)
  const platform = await startPlatform({ world, database, ...(port && { port }) }, { signal, timeoutMs })
  return Object.assign(platform, { database })
}
