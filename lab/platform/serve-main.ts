/**
 * The stand-in platform as a process of its own: `serve-main --config <json> [--record <file>]`.
 *
 * Without a record it keeps its state in memory and lives as long as its stdin is open: the kernel closes that when
 * the one who started it is gone, however that came. With one it lives until SIGTERM, and the file says where it is.
 *
 * Prints one JSON object a line, see {@link ServeMessage}. Exit code 1 when it did not start, or when VMs may be left.
 */
import { renameSync, rmSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { configureLogging, messageOf } from '../../framework/core/index.ts'
import { profileOf } from '../profile.ts'
import type { LabConfig } from '../provider.ts'
import { LibvirtWorld } from './libvirt-world.ts'
import { runOf } from './platform-guard.ts'
import { startPlatform, type Platform } from './platform.ts'
import type { PlatformAccess, ServeMessage } from './process.ts'
import { servePlatform } from './serve.ts'

const { values } = parseArgs({
  options: { config: { type: 'string', default: '{}' }, record: { type: 'string' } },
})
const config = JSON.parse(values.config) as LabConfig
const { record } = values

/** What was printed may still have to leave this process. */
const EXIT_MS = 1_000
let told = false

const stop = new AbortController()
const stopped = new Promise<void>((resolve) => {
  const end = (why: string) => {
    stop.abort(new Error(why))
    resolve()
  }
  process.on('SIGTERM', () => end('SIGTERM'))
  process.on('SIGINT', () => end('SIGINT'))
  process.on('SIGHUP', () => {})
  if (record !== undefined) return
  for (const event of ['end', 'error', 'close']) process.stdin.on(event, () => end('its owner is gone'))
  process.stdin.resume()
})
// Whoever started it may be gone; what is left to do here is done all the same.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})

const tell = (message: ServeMessage) => void process.stdout.write(`${JSON.stringify(message)}\n`)
const onProgress = (text: string) => tell({ progress: text })

function start(): Promise<Platform> {
  const { signal } = stop
  return record === undefined
    ? startPlatform({ world: new LibvirtWorld(config, onProgress) }, { signal })
    : servePlatform({ config, signal, onProgress })
}

/** Whoever reads it meanwhile sees all of it or nothing. */
function note(file: string, access: PlatformAccess): void {
  const draft = `${file}.${process.pid}`
  writeFileSync(draft, JSON.stringify({ pid: process.pid, ...access }), { mode: 0o600, flag: 'wx' })
  renameSync(draft, file)
}

try {
  await configureLogging()
  const platform = await start()
  const { url, adminUser: username, hosts } = platform
  const access: PlatformAccess = {
    owner: runOf(platform.id),
    url,
    username,
    password: platform.adminPassword.reveal(),
    faultToken: platform.faultToken.reveal(),
    template: profileOf(config.profile).name,
    hosts: [...hosts],
  }
  try {
    if (record !== undefined) note(record, access)
    told = true
    tell({ ready: access })
    await stopped
  } finally {
    if (record !== undefined) rmSync(record, { force: true })
    await platform.close()
  }
  process.exit(0)
} catch (error) {
  // Its starter reads the first; of a later end only stderr tells.
  if (!told) tell({ failed: messageOf(error) })
  if (told || record !== undefined) process.stderr.write(`the stand-in platform: ${messageOf(error)}\n`)
  process.exitCode = 1
  setTimeout(() => process.exit(), EXIT_MS).unref()
}
