import { domainView } from '../domain-view.ts'
import { operation, type Call } from '../operation.ts'
import { BAD_TOKEN, PLATFORM_CODE, refuse, Refusal } from '../refusal.ts'
import { any, array, bool, int, long, map, object, required, string, type ValueOf } from '../schema.ts'
import { md5 } from '../sessions.ts'
import type { PlatformState } from '../state.ts'

const LOGIN_VO = object('LoginVO', {
  resourcePri: int,
  roleLevel: string,
  token: string,
  userPri: int,
  username: string,
})

function adminSession(state: PlatformState, user: string): ValueOf<typeof LOGIN_VO> {
  const { token } = state.sessions.begin(user, 'admin')
  return { token, username: user, roleLevel: '1', resourcePri: 1, userPri: 1 }
}

const adminUser = (state: PlatformState) => state.setting('admin-user', () => 'admin')

function assertAdmin(state: PlatformState, username: string): void {
  if (username !== adminUser(state)) throw new Refusal(PLATFORM_CODE.noUser, 'no such user')
}

const MD5 = /^[0-9a-f]{32}$/

function assertMd5(field: string, text: string): void {
  if (!MD5.test(text)) throw refuse('invalidValue', `${field} must be an MD5 in 32 lower-case hexadecimal digits`)
}

const LOGIN_REQ = object('LoginReq', {
  action: string,
  idNumber: string,
  ipAddr: string,
  macAddr: string,
  password: string,
  phone: string,
  sAMAccountName: string,
  smsCode: string,
  smsKey: string,
  software: string,
  systemVersion: string,
  terminalType: string,
  // Not in the schema, but what field notes say is sent.
  username: string,
})

function userOf({ state, body }: Call<unknown, ValueOf<typeof LOGIN_REQ>>) {
  const { action = 'pwd', password = '' } = body
  if (action !== 'pwd' && action !== '') throw refuse('unsupported', `login by "${action}" is not modelled`)
  const row = state.users.get(body.sAMAccountName ?? body.username ?? '')
  if (!row) throw new Refusal(PLATFORM_CODE.noUser, 'no such user')
  if (row.password !== password) throw new Refusal(PLATFORM_CODE.wrongPassword, 'wrong password')
  state.users.change(row.id, { lastLoginTime: state.clock.now() })
  const domains = state.domains().filter((vm) => vm.userId === row.id)
  return { row, domains, session: state.sessions.begin(row.id, 'user') }
}

// The documents give end users a schema of its own; these of its fields are filled.
const DOMAIN_ENTITY = object('DomainEntity', {
  id: string,
  name: string,
  status: int,
  hostId: string,
  hostIp: string,
  cpu: int,
  memory: int,
  osType: string,
  userId: string,
  desktopPoolId: string,
})

export const LOGIN_OPERATIONS = [
  operation({
    name: 'login',
    method: 'POST',
    path: '/ocloud/v1/login',
    body: object('LoginDto', { client: string, password: required(string), username: required(string) }),
    envelope: 'R',
    answer: LOGIN_VO,
    token: false,
    handle({ state, body }) {
      assertAdmin(state, body.username)
      if (body.password !== state.settings.get('admin-password')?.value) {
        throw new Refusal(PLATFORM_CODE.wrongPassword, 'wrong password')
      }
      return adminSession(state, body.username)
    },
  }),
  operation({
    name: 'login.sso',
    method: 'POST',
    path: '/ocloud/v1/login-sso',
    body: object('LoginSsoDto', { user: required(string) }),
    envelope: 'R',
    answer: LOGIN_VO,
    token: false,
    handle() {
      // It asks for no password, and everybody on this machine can reach the stand-in.
      throw refuse('unsupported', 'single sign-on is not modelled')
    },
  }),
  operation({
    name: 'logout',
    method: 'POST',
    path: '/ocloud/v1/logout',
    envelope: 'B',
    // End users' sessions end by it, too: no document names another call.
    token: false,
    handle({ state, session }) {
      if (!session) throw new Refusal(PLATFORM_CODE.token, BAD_TOKEN)
      state.sessions.end(session.token)
    },
  }),
  operation({
    name: 'admin.password',
    method: 'PATCH',
    path: '/ocloud/v1/admin-user/password',
    body: object('AdminUserChangePasswordDto', { newPassword: required(string), password: required(string) }),
    envelope: 'B',
    handle({ state, body }) {
      if (body.password !== state.settings.get('admin-password')?.value) {
        throw new Refusal(PLATFORM_CODE.wrongPassword, 'wrong password')
      }
      assertMd5('newPassword', body.newPassword)
      state.changeSetting('admin-password', body.newPassword)
    },
  }),
  operation({
    name: 'user.login',
    method: 'POST',
    path: '/ocloud/usermodule/login',
    body: LOGIN_REQ,
    envelope: 'U',
    answer: object('LoginData', {
      domains: array(DOMAIN_ENTITY),
      isFirstLogin: int,
      licenseExpireDays: long,
      linkingHosts: array(map),
      needSmsVerify: bool,
      phone: string,
      strongPwd: string,
      token: string,
      userName: string,
    }),
    token: false,
    handle(call) {
      const { row, domains, session } = userOf(call)
      return {
        domains: domains.map((vm) => {
          const { id, name, status, hostId, ip, cpu, memory, osType, userId, desktopPoolId } = domainView(
            call.state,
            vm,
          )
          return { id, name, status, hostId, hostIp: ip, cpu, memory, osType, userId, desktopPoolId }
        }),
        isFirstLogin: 0,
        linkingHosts: [],
        needSmsVerify: false,
        phone: row.mobile,
        token: session.token,
        userName: row.id,
      }
    },
  }),
  operation({
    name: 'user.login2',
    method: 'POST',
    path: '/ocloud/usermodule/userlogin2',
    body: LOGIN_REQ,
    envelope: 'C',
    answer: object('ResultClient', {
      token: string,
      token_login: string,
      userName: string,
      machinenums: int,
      machines: any,
      isFirstLogin: int,
      licenseExpireDays: long,
      needSmsVerify: bool,
      phone: string,
      strongPwd: string,
      zzdUser: any,
    }),
    token: false,
    handle(call) {
      const { row, domains, session } = userOf(call)
      const machines = Object.fromEntries(domains.map((vm) => [vm.id, { uuid: vm.id, name: vm.name }]))
      return {
        token: session.token,
        token_login: session.token,
        userName: row.id,
        machinenums: domains.length,
        machines,
        isFirstLogin: 0,
        needSmsVerify: false,
        phone: row.mobile,
      }
    },
  }),
]

/** The stored form of a user's password, sent as text or as its MD5. */
export function storedPassword(text: string): string {
  return MD5.test(text) ? text : md5(text)
}
