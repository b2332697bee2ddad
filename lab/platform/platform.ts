import { randomBytes } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { Secret, type CallOptions } from '../../framework/core/index.ts'
import { realClock } from './clock.ts'
import { Faults } from './faults.ts'
import { MemoryWorld } from './memory-world.ts'
import { PLATFORM_OPERATIONS } from './operations/index.ts'
import { DEFAULT_BEHAVIOUR, type PlatformOptions } from './options.ts'
import { PlatformGuard } from './platform-guard.ts'
import { PlatformServer } from './server.ts'
import { md5 } from './sessions.ts'
import { PlatformState } from './state.ts'
import { Store } from './store.ts'

/** A platform that answers. */
export interface Platform {
  /** Part of the owner tags of its VMs: `platform-<id>`. */
  readonly id: string
  readonly url: string
  readonly adminUser: string
  readonly adminPassword: Secret
  /** For the header `Fault-Token` of calls to `/stand-in/…`. */
  readonly faultToken: Secret
  readonly faults: Faults
  /** The hypervisor hosts, with the libvirt URIs under which their VMs are found. */
  readonly hosts: readonly { id: string; name: string; ip: string; uri: string }[]
  /** How often somebody logged in. */
  readonly logins: number
  /** Who is logged in, in the order in which they came. */
  readonly sessions: readonly { user: string; kind: 'admin' | 'user' }[]
  /** All tokens are worthless from now on. */
  expireTokens(): void
  /**
   * Ends every call, destroys the VMs and closes the database. VMs, pools, users and events are still in it, all VMs
   * off and without snapshots; with `forget` a database file is removed.
   */
  close(options?: { forget?: boolean }): Promise<void>
}

/**
 * Starts the stand-in for an OCloudView platform, on loopback.
 *
 * With a database that another start left behind, its VMs are taken over: those of a process that was killed go on
 * as they run, those that are gone are made again, off.
 *
 * @throws `ATP_LAB_PLATFORM_BUSY` when a live platform has the database, `ATP_LAB_PLATFORM_DATABASE`, and what the
 * world throws. Nothing is left then but what was there before.
 */
export async function startPlatform(options: PlatformOptions = {}, bounds: CallOptions = {}): Promise<Platform> {
  const behaviour = { ...DEFAULT_BEHAVIOUR, ...options.behaviour }
  const { world = new MemoryWorld(), clock = realClock, userPassword = 'ocloud', database } = options
  const faults = new Faults()
  const store = new Store(database)
  let guard: PlatformGuard | undefined
  try {
    const state = new PlatformState({ store, world, behaviour, clock, faults, userPassword })
    guard = await PlatformGuard.acquire(state.id)
    const password = adminPassword(state, options)
    const hosts = await world.open(state.id, bounds)
    try {
      await state.open(hosts, bounds)
      const faultToken = randomBytes(24).toString('base64url')
      const server = new PlatformServer(state, PLATFORM_OPERATIONS, faults, faultToken)
      const url = await server.listen(options.port)
      return platform({ state, server, guard, store, url, password, faultToken, hosts, database })
    } catch (error) {
      // A database that was there before keeps its VMs for the next start.
      if (database === undefined) await state.close().catch(() => {})
      else await world.close()
      throw error
    }
  } catch (error) {
    store.close()
    await guard?.release()
    throw error
  }
}

function platform(parts: {
  state: PlatformState
  server: PlatformServer
  guard: PlatformGuard
  store: Store
  url: string
  password: Secret
  faultToken: string
  hosts: Platform['hosts']
  database: string | undefined
}): Platform {
  const { state, server, guard, store, url, hosts, database } = parts
  let closing: Promise<void> | undefined
  const close = async (forget: boolean) => {
    await server.close()
    try {
      await state.close()
    } finally {
      store.close()
      await guard.release()
    }
    if (!forget || database === undefined) return
    for (const tail of ['', '-wal', '-shm']) await rm(`${database}${tail}`, { force: true })
  }
  return {
    id: state.id,
    url,
    hosts,
    adminUser: state.setting('admin-user', () => 'admin'),
    adminPassword: parts.password,
    faultToken: new Secret('fault token', parts.faultToken),
    faults: state.faults,
    get logins() {
      return state.sessions.logins
    },
    get sessions() {
      return state.sessions.open()
    },
    expireTokens: () => state.sessions.expireAll(),
    close: ({ forget = false } = {}) => (closing ??= close(forget)),
  }
}

/** The password given, else that of the earlier start, else a new one. */
function adminPassword(state: PlatformState, { adminUser = 'admin', adminPassword: given }: PlatformOptions): Secret {
  state.changeSetting('admin-user', adminUser)
  if (given !== undefined) state.changeSetting('admin-text', given)
  const text = state.setting('admin-text', () => randomBytes(12).toString('base64url'))
  // A password that was changed over the API stays changed.
  if (given !== undefined) state.changeSetting('admin-password', md5(text))
  else state.setting('admin-password', () => md5(text))
  return new Secret('platform admin', text)
}
