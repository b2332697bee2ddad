import { configError, Secret } from '../../core/index.ts'
import { NAME, TEXT } from '../model/index.ts'
import type { StepKind } from '../step-kind.ts'
import { platformStep } from './platform-step.ts'

const userLogin = platformStep('user_login', {
  summary: 'Logs an end user in, as a client does; steps go on as the administrator',
  params: {
    properties: {
      username: { ...NAME, description: 'Account of the user' },
      password: { ...TEXT, description: 'Password; ${secret.name} keeps it out of the file' },
    },
    required: ['username', 'password'],
  },
  opaque: ['password'],
  async run({ platform, call }, { username, password }) {
    const secret =
      password instanceof Secret ? password : new Secret(`password of ${username as string}`, password as string)
    const session = await platform.service.userLogin(username as string, secret, call)
    return { output: session, note: `${session.user} sees ${session.vms.length} VMs` }
  },
})

const userLogout = platformStep('user_logout', {
  summary: 'Ends the session that user_login opened, the newest one without username',
  params: { properties: { username: { ...NAME, description: 'Account of the user' } } },
  async run({ platform, call }, { username }) {
    const { user, ended } = await platform.service.userLogout(username as string | undefined, call)
    return { note: ended ? user : `${user}: the platform ends sessions by expiry only` }
  },
})

const getUserDomain = platformStep('get_user_domain', {
  summary: 'The VM bound to a user; index chooses among several',
  params: {
    properties: {
      user_id: { ...NAME, description: 'Account of the user' },
      index: { type: 'integer', minimum: 0, description: 'Which one, in the order of names, from 0' },
    },
    required: ['user_id'],
  },
  passive: true,
  async run({ platform, call }, { user_id: user, index }) {
    const vms = await platform.service.userVms(user as string, call)
    const vm = vms[(index as number | undefined) ?? 0]
    if (!vm || (index === undefined && vms.length > 1)) {
      const names = vms.map(({ name }) => name).join(', ') || 'none'
      throw configError('ATP_SCENARIO_NO_TARGET', `which VM of ${user as string} is meant? Bound are: ${names}`, {
        remedy: 'say which with "index", or bind the user before',
      })
    }
    return { output: vm, note: vm.name }
  },
})

const hostInfo = platformStep('host_info', {
  summary: 'What the platform tells about one of its hosts',
  params: { properties: { host: { ...NAME, description: 'Id, name or address of the host' } }, required: ['host'] },
  passive: true,
  async run({ platform, call }, { host }) {
    const found = await platform.service.host(host as string, call)
    return { output: found, note: String(found['name']) }
  },
})

/** Steps about end users and hosts. */
export const vdiUserKinds: readonly StepKind[] = [userLogin, userLogout, getUserDomain, hostInfo]
