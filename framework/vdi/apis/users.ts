import { type CallOptions, isAtpError, Secret } from '../../core/index.ts'
import type { Caller } from '../caller.ts'
import type { DomainVO } from '../operations/domains.ts'
import {
  type DomainEntity,
  type LinkingHost,
  type UserCreateParam,
  type UserDetailVo,
  type UserListVo,
  users,
  type UserUpdateParam,
} from '../operations/users.ts'
import { allPages } from '../pages.ts'
import { logout } from '../operations/session.ts'
import { passwordHash } from '../password.ts'

/** A session of an end user. */
export interface EndUserSession {
  token: Secret
  userName: string | undefined
  /** VMs of the user; the old login does not tell them in a known form. */
  domains: DomainEntity[]
  linkingHosts: LinkingHost[]
}

/** End users. Their key is `sAMAccountName`. */
export class UsersApi {
  readonly #caller: Caller

  constructor(caller: Caller) {
    this.#caller = caller
  }

  /** Users of an organisational unit (`ou=x,ou=y`), page by page as they are needed. */
  list(
    filter: { group: string; keyword?: string; sortOrder?: string },
    options?: CallOptions,
  ): AsyncGenerator<UserListVo, void, undefined> {
    return allPages(this.#caller.assumptions.pageRows, (page) =>
      this.#caller.call(users.list, { query: { ...filter, ...page } }, options),
    )
  }

  /** One user. */
  get(sAMAccountName: string, options?: CallOptions): Promise<UserDetailVo> {
    return this.#caller.call(users.get, { query: { sAMAccountName } }, options)
  }

  /** Makes a user; without a password the platform gives its own first one. */
  create(user: Omit<UserCreateParam, 'password'> & { password?: Secret }, options?: CallOptions): Promise<void> {
    const body = { ...user, password: user.password && this.#wirePassword(user.password) }
    return this.#caller.call(users.create, { body }, options)
  }

  /** Changes a user. */
  update(user: UserUpdateParam, options?: CallOptions): Promise<void> {
    return this.#caller.call(users.update, { body: user }, options)
  }

  /** Deletes a user of an organisational unit. */
  delete(sAMAccountName: string, group?: string, options?: CallOptions): Promise<void> {
    return this.#caller.call(users.delete, { body: { userId: sAMAccountName, group } }, options)
  }

  /** Gives a user of an organisational unit another password. */
  resetPassword(
    user: { sAMAccountName: string; group?: string; password: Secret },
    options?: CallOptions,
  ): Promise<void> {
    const body = { ...user, password: this.#wirePassword(user.password) }
    return this.#caller.call(users.resetPassword, { body }, options)
  }

  /** VMs bound to a user, page by page as they are needed. */
  domains(sAMAccountName: string, options?: CallOptions): AsyncGenerator<DomainVO, void, undefined> {
    return allPages(this.#caller.assumptions.pageRows, (page) =>
      this.#caller.call(users.domains, { query: { userId: sAMAccountName, ...page } }, options),
    )
  }

  /** Shuts down all VMs of users that run. The platform tells of no event to follow. */
  closeDomains(sAMAccountNames: string[], options?: CallOptions): Promise<void> {
    return this.#caller.call(users.closeDomains, { body: { usernameList: sAMAccountNames } }, options)
  }

  /** Makes an organisational unit `name` below another one (`ou=x,ou=y`), or below the root. */
  createGroup(name: string, base?: string, options?: CallOptions): Promise<void> {
    return this.#caller.call(users.createGroup, { body: { group: name, base } }, options)
  }

  /** Deletes an organisational unit (`ou=x,ou=y`) that is empty. */
  deleteGroup(group: string, options?: CallOptions): Promise<void> {
    return this.#caller.call(users.deleteGroup, { body: { group } }, options)
  }

  /**
   * Logs an end user in, as a client does. The session is the user's own; this client keeps that of its administrator.
   *
   * @throws `ATP_VDI_REFUSED`: 5098 no such user, 5099 wrong password, 5100 locked, 5101 expired, 5102 SMS needed
   */
  async login(username: string, password: Secret, options?: CallOptions): Promise<EndUserSession> {
    const { endUserField, endUserLogin } = this.#caller.assumptions
    const body = {
      action: 'pwd' as const,
      password: passwordHash(password),
      ...(endUserField === 'sAMAccountName' ? {} : { username }),
      ...(endUserField === 'username' ? {} : { sAMAccountName: username }),
    }
    if (endUserLogin === 'userlogin2') {
      const old = await this.#caller.call(users.login2, { body }, options)
      return session(old.token, old.userName)
    }
    const { token, userName, domains, linkingHosts } = await this.#caller.call(users.login, { body }, options)
    return { ...session(token, userName), domains: domains ?? [], linkingHosts: linkingHosts ?? [] }
  }

  /**
   * Ends a session of an end user. Which call that is no document says; see `endUserLogout` of the assumptions. A
   * session that has ended already is none to end.
   *
   * @returns whether the platform ended it; false where it only expires
   */
  async logout({ token }: Pick<EndUserSession, 'token'>, options?: CallOptions): Promise<boolean> {
    const { endUserLogout, expiredTokenCodes } = this.#caller.assumptions
    if (endUserLogout === 'expiry') return false
    try {
      await this.#caller.call(logout, {}, { ...options, token })
      return true
    } catch (error) {
      if (!isAtpError(error, 'ATP_VDI_REFUSED')) throw error
      if (!expiredTokenCodes.includes(error.context['code'] as number)) throw error
      return false
    }
  }

  #wirePassword(password: Secret): string {
    if (this.#caller.assumptions.userPasswordForm === 'md5') return passwordHash(password)
    return password.reveal()
  }
}

function session(token: string, userName: string | null | undefined): EndUserSession {
  return { token: new Secret('end user token', token), userName: userName ?? undefined, domains: [], linkingHosts: [] }
}
