import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { Secret } from '../../../framework/core/index.ts'
import { LIBRARIES, PROGRAMS } from './programs.ts'
import type { PrivateDaemon } from './private-daemon.ts'

/** An account that daemons with SASL know. */
export const SASL_USER = 'lab-user'
/** Text that SASLprep changes, so that a client which only compares bytes is refused: ª becomes a, ⅸ becomes ix. */
export const SASL_PASSWORD = 'pencil ª ⅸ 密码'

/**
 * Makes the accounts of one daemon, with mechanisms and plug-ins of its own.
 *
 * @returns the variables by which cyrus-sasl finds them; they are for the daemon and for libvirt's own clients.
 */
export function makeSaslAccounts(daemon: PrivateDaemon): Record<string, string> {
  const folder = daemon.folder('sasl')
  const database = `${folder}/sasldb2`
  daemon.file('sasl/libvirt.conf', `mech_list: scram-sha-256\npwcheck_method: auxprop\nsasldb_path: ${database}\n`)
  const env = { SASL_CONF_PATH: folder, SASL_PATH: `${LIBRARIES}/sasl2:/usr/lib/x86_64-linux-gnu/sasl2` }
  execFileSync(PROGRAMS.saslpasswd2, ['-p', '-c', '-a', 'libvirt', '-f', database, SASL_USER], {
    input: SASL_PASSWORD,
    env: { ...daemon.env, ...env },
    stdio: ['pipe', 'ignore', 'pipe'],
  })
  daemon.give(database)
  const account = `[credentials-lab]\nusername=${SASL_USER}\nauthname=${SASL_USER}\npassword=${SASL_PASSWORD}\n`
  const hosts = ['127.0.0.1', '::1', 'localhost', 'default'].map((host) => `[auth-libvirt-${host}]\ncredentials=lab\n`)
  const authFile = `${daemon.clientFolder('sasl-client')}/auth.conf`
  writeFileSync(authFile, [account, ...hosts].join('\n'), { mode: 0o600 })
  return { ...env, LIBVIRT_AUTH_FILE: authFile }
}

/** The account, as a host's access names it. */
export function saslAccess(): { user: string; password: Secret } {
  return { user: SASL_USER, password: new Secret('lab-sasl', SASL_PASSWORD) }
}
