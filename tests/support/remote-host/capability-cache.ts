import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { labPaths } from '../../../lab/paths.ts'

/** What earlier daemons found out about the emulators; libvirt itself checks whether it still holds. */
const SHARED = join(labPaths().home, 'test-capabilities')

/** Files below a daemon's cache folder. */
export const CAPABILITIES = 'libvirt/qemu/cache/capabilities'

/** Names of what is known. A daemon that starts without spends seconds on asking every emulator. */
export function knownCapabilities(): { name: string; path: string }[] {
  if (!existsSync(SHARED)) return []
  return readdirSync(SHARED)
    .filter((name) => name.endsWith('.xml'))
    .map((name) => ({ name, path: join(SHARED, name) }))
}

/** Keeps what a daemon found out for the next ones. */
export function keepCapabilities(cacheFolder: string): void {
  const folder = join(cacheFolder, CAPABILITIES)
  if (!existsSync(folder)) return
  mkdirSync(SHARED, { recursive: true })
  for (const name of readdirSync(folder)) {
    const shared = join(SHARED, name)
    if (existsSync(shared) && readFileSync(shared).equals(readFileSync(join(folder, name)))) continue
    // Other tests read at the same time.
    copyFileSync(join(folder, name), `${shared}.${process.pid}`)
    renameSync(`${shared}.${process.pid}`, shared)
  }
}
