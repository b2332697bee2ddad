import { chown } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { messageOf, unsupportedError, type CallOptions } from '../framework/core/index.ts'
import { runProgram } from './run-program.ts'

/** Account the daemons run as when the lab is started by root: libvirt and QEMU must not run as root here. */
const LAB_USER = 'atp-lab'

/** Whom the lab's daemons and VMs run as. */
export interface DaemonUser {
  name: string
  uid: number
  gid: number
  /** What to put before a command line so that it runs as this user. Empty when that is who we are. */
  prefix: readonly string[]
}

/**
 * The daemons' user: ourselves, or for root a system account that is made if it is missing.
 *
 * @throws `ATP_LAB_USER` when the account cannot be made.
 */
export async function daemonUser(options: CallOptions = {}): Promise<DaemonUser> {
  const self = userInfo()
  if (self.uid !== 0) return { name: self.username, uid: self.uid, gid: self.gid, prefix: [] }
  const ids = (await lookUp(options)) ?? (await makeAccount(options))
  // --init-groups: the group "kvm" counts where the account was put into it.
  const prefix = ['setpriv', `--reuid=${ids.uid}`, `--regid=${ids.gid}`, '--init-groups', '--']
  return { name: LAB_USER, ...ids, prefix }
}

async function lookUp(options: CallOptions): Promise<{ uid: number; gid: number } | undefined> {
  const { exitCode, stdout } = await runProgram('getent', ['passwd', LAB_USER], options)
  const fields = stdout.trim().split(':')
  return exitCode === 0 ? { uid: Number(fields[2]), gid: Number(fields[3]) } : undefined
}

async function makeAccount(options: CallOptions): Promise<{ uid: number; gid: number }> {
  let said: string
  try {
    const args = [
      '--system',
      '--user-group',
      '--no-create-home',
      '--home-dir',
      '/nonexistent',
      '--shell',
      '/usr/sbin/nologin',
      LAB_USER,
    ]
    said = (await runProgram('useradd', args, options)).stderr.trim()
    // Whoever else made it in the meantime is welcome.
    const made = await lookUp(options)
    if (made) {
      await runProgram('usermod', ['--append', '--groups', 'kvm', LAB_USER], options)
      return made
    }
  } catch (error) {
    said = messageOf(error)
  }
  throw unsupportedError('ATP_LAB_USER', `the lab's system account "${LAB_USER}" cannot be made: ${said}`, {
    remedy: `make it with "useradd --system ${LAB_USER}", or run the lab as an ordinary user`,
    verdict: 'infrastructure',
  })
}

/** Gives files made by root to the daemons' user. */
export async function giveTo(user: DaemonUser, ...files: string[]): Promise<void> {
  if (user.prefix.length > 0) await Promise.all(files.map((file) => chown(file, user.uid, user.gid)))
}
