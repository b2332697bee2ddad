/**
 * The stand-in platform as a process of its own, on the lab's hosts.
 *
 * Prints one line of JSON once it answers: `url`, `adminUser`, `adminPassword`, `faultToken`, `hosts`, `database`. Ends
 * with SIGTERM or SIGINT, after its VMs.
 */
import { mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { configError, configureLogging, messageOf } from '../../framework/core/index.ts'
import { labPaths } from '../paths.ts'
import { LibvirtWorld } from './libvirt-world.ts'
import { MemoryWorld } from './memory-world.ts'
import { startPlatform } from './platform.ts'

function wholeNumber(name: string, text: string | undefined): number | undefined {
  if (text === undefined || /^\d{1,5}$/.test(text)) return text === undefined ? undefined : Number(text)
  throw configError('ATP_LAB_PLATFORM_OPTION', `--${name} is "${text}"; it must be a whole number`)
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      /** SQLite file. Default: `platform/platform.db` in the lab's home. */
      database: { type: 'string' },
      port: { type: 'string' },
      hosts: { type: 'string' },
      /** No real VMs. */
      memory: { type: 'boolean', default: false },
    },
  })
  await configureLogging()
  const database = values.database ?? join(labPaths().home, 'platform', 'platform.db')
  const hosts = wholeNumber('hosts', values.hosts)
  const port = wholeNumber('port', values.port)
  await mkdir(dirname(database), { recursive: true, mode: 0o700 })
  const progress = (text: string) => void process.stderr.write(`${text}\n`)
  const world = values.memory ? new MemoryWorld(hosts) : new LibvirtWorld({ ...(hosts && { hosts }) }, progress)
  const stop = new AbortController()
  const stopped = new Promise<void>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.on(signal, () => {
        stop.abort(new Error(signal))
        resolve()
      })
    }
  })
  const platform = await startPlatform({ world, database, ...(port && { port }) }, { signal: stop.signal })
  const { url, adminUser, adminPassword, faultToken } = platform
  const secrets = { adminPassword: adminPassword.reveal(), faultToken: faultToken.reveal() }
  process.stdout.write(`${JSON.stringify({ url, adminUser, ...secrets, hosts: platform.hosts, database })}\n`)
  await stopped
  await platform.close()
}

main().catch((error: unknown) => {
  process.stderr.write(`${messageOf(error)}\n`)
  process.exitCode = 1
})
