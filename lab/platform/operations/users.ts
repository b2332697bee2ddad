import { DOMAIN_VO, domainView } from '../domain-view.ts'
import { contains, listed, operation, pageOf } from '../operation.ts'
import { refuse } from '../refusal.ts'
import type { GroupRow, UserRow } from '../rows.ts'
import { array, object, page, PAGE, required, string, type Shape, type ValueOf } from '../schema.ts'
import { ROOT_GROUP, type PlatformState } from '../state.ts'
import { storedPassword } from './login.ts'

const USER_VO = object('UserListVo', {
  admins: string,
  cn: string,
  displayName: string,
  distinguishedName: string,
  domainName: string,
  givenName: string,
  id: string,
  idNumber: string,
  lastLoginTime: string,
  mail: string,
  mobile: string,
  sAMAccountName: string,
  sn: string,
})
const GROUP_FIELDS = {
  distinguishedName: string,
  id: string,
  ldapOpen: string,
  ldapType: string,
  ou: string,
  parent: string,
} as const
// One level of children is declared; deeper ones are lists of the same.
const GROUP_VO = object('UserGroupVO', { ...GROUP_FIELDS, list: groupList() })

function groupList(): Shape<GroupView[]> {
  const fields = { ...GROUP_FIELDS } as Record<string, Shape>
  const list: Shape<GroupView[]> = { type: 'array', items: { type: 'object', name: 'UserGroupVO', fields } }
  fields['list'] = list
  return list
}
interface GroupView {
  distinguishedName?: string
  id?: string
  ou?: string
  parent?: string
  list?: GroupView[]
}

function group(state: PlatformState, id: string): GroupRow {
  const row = state.groups.get(id)
  if (row) return row
  throw refuse('noSuch', `there is no organisational unit "${id}"`)
}

function groupView(state: PlatformState, row: GroupRow): GroupView {
  const list = state.groups
    .all()
    .filter((other) => other.parent === row.id)
    .map((other) => groupView(state, other))
  return { distinguishedName: row.id, id: row.id, ou: row.ou, parent: row.parent, list }
}

const nameOf = (row: UserRow) => [row.sn, row.givenName].filter(Boolean).join('') || row.id

function userView(row: UserRow): ValueOf<typeof USER_VO> {
  const { id, sn, givenName, mail, mobile, idNumber, cn, lastLoginTime } = row
  const time = lastLoginTime === undefined ? undefined : new Date(lastLoginTime).toISOString()
  const distinguishedName = `cn=${id},${row.group}`
  return {
    id,
    sAMAccountName: id,
    distinguishedName,
    displayName: nameOf(row),
    sn,
    givenName,
    mail,
    mobile,
    idNumber,
    cn,
    lastLoginTime: time,
  }
}

const USER_FIELDS = {
  givenName: string,
  group: string,
  idNumber: string,
  mail: string,
  mobile: string,
  sAMAccountName: string,
  sn: string,
} as const

function account(sAMAccountName: string | undefined): string {
  if (sAMAccountName === undefined || sAMAccountName === '') throw refuse('missingField', 'sAMAccountName is missing')
  return sAMAccountName
}

function removeUser(state: PlatformState, id: string): void {
  for (const vm of state.vms.all()) if (vm.userId === id) state.vms.change(vm.id, { userId: undefined })
  state.users.delete(id)
}

export const USER_OPERATIONS = [
  operation({
    name: 'user.list',
    method: 'GET',
    path: '/ocloud/v1/user',
    query: { ...PAGE, group: required(string), keyword: string, sortOrder: string },
    envelope: 'R',
    answer: page(USER_VO),
    handle(call) {
      const { state, query } = call
      const { id } = group(state, query.group)
      const rows = state.users.all().filter((row) => row.group === id && contains(query.keyword, row.id))
      return pageOf(call, rows, userView)
    },
  }),
  operation({
    name: 'user.create',
    method: 'POST',
    path: '/ocloud/v1/user',
    body: object('UserCreateParam', { ...USER_FIELDS, password: string }),
    envelope: 'B',
    handle({ state, body }) {
      const { sAMAccountName, password = state.userPassword, ...rest } = body
      const id = account(sAMAccountName)
      if (state.users.get(id)) throw refuse('nameTaken', `there is a user "${id}" already`)
      const { id: unit } = group(state, body.group ?? ROOT_GROUP)
      state.users.add({ ...rest, id, group: unit, password: storedPassword(password) })
    },
  }),
  operation({
    name: 'user.update',
    method: 'PUT',
    path: '/ocloud/v1/user',
    body: object('UserUpdateParam', { ...USER_FIELDS, cn: string }),
    envelope: 'B',
    handle({ state, body }) {
      const { sAMAccountName, ...changes } = body
      const { id } = state.user(account(sAMAccountName))
      if (changes.group !== undefined) group(state, changes.group)
      state.users.change(id, changes)
    },
  }),
  operation({
    name: 'user.delete',
    method: 'POST',
    path: '/ocloud/v1/user/delete',
    body: object('UserDeleteParam', { group: string, userId: string }),
    envelope: 'B',
    handle({ state, body }) {
      if (body.userId === undefined) throw refuse('missingField', 'userId is missing')
      const row = state.user(body.userId)
      if (body.group !== undefined && body.group !== row.group) {
        throw refuse('noSuch', `user "${row.id}" is not in "${body.group}"`)
      }
      removeUser(state, row.id)
    },
  }),
  operation({
    name: 'user.detail',
    method: 'GET',
    path: '/ocloud/v1/user/detail',
    query: { sAMAccountName: required(string) },
    envelope: 'R',
    answer: object('UserDetailVo', { displayName: string, mail: string, mobile: string, sAMAccountName: string }),
    handle({ state, query }) {
      const row = state.user(query.sAMAccountName)
      return { displayName: nameOf(row), mail: row.mail, mobile: row.mobile, sAMAccountName: row.id }
    },
  }),
  operation({
    name: 'user.password',
    method: 'PATCH',
    path: '/ocloud/v1/user/password',
    body: object('UserResetPasswordParam', { group: string, password: string, sAMAccountName: string }),
    envelope: 'B',
    handle({ state, body }) {
      const { id } = state.user(account(body.sAMAccountName))
      if (body.password === undefined) throw refuse('missingField', 'password is missing')
      state.users.change(id, { password: storedPassword(body.password) })
    },
  }),
  operation({
    name: 'user.domains',
    method: 'GET',
    path: '/ocloud/v1/user/domain',
    query: { ...PAGE, freeze: string, keyword: string, status: string, userId: required(string) },
    envelope: 'R',
    answer: page(DOMAIN_VO),
    handle(call) {
      const { state, query } = call
      const { id } = state.user(query.userId)
      const rows = state
        .domains()
        .filter(
          (row) =>
            row.userId === id &&
            contains(query.keyword, row.name) &&
            listed(query.status, row.status) &&
            listed(query.freeze, row.freezeType),
        )
      return pageOf(call, rows, (row) => domainView(state, row))
    },
  }),
  operation({
    name: 'group.tree',
    method: 'GET',
    path: '/ocloud/v1/group/tree',
    envelope: 'R',
    answer: array(GROUP_VO),
    handle: ({ state }) =>
      state.groups
        .all()
        .filter((row) => row.parent === undefined)
        .map((row) => groupView(state, row)),
  }),
  operation({
    name: 'group.get',
    method: 'GET',
    path: '/ocloud/v1/group',
    query: { distinguishedName: required(string) },
    envelope: 'R',
    answer: object('UserGroupSimpleVO', { distinguishedName: string, ou: string }),
    handle({ state, query }) {
      const { id, ou } = group(state, query.distinguishedName)
      return { distinguishedName: id, ou }
    },
  }),
  operation({
    name: 'group.create',
    method: 'POST',
    path: '/ocloud/v1/group',
    body: object('GroupCreateParam', { base: string, group: string }),
    envelope: 'B',
    handle({ state, body }) {
      const parent = group(state, body.base ?? ROOT_GROUP)
      const ou = body.group ?? ''
      if (ou === '' || /[,=]/.test(ou)) throw refuse('invalidValue', `"${ou}" is no name of an organisational unit`)
      const id = `ou=${ou},${parent.id}`
      if (state.groups.get(id)) throw refuse('nameTaken', `there is an organisational unit "${id}" already`)
      state.groups.add({ id, ou, parent: parent.id })
    },
  }),
  operation({
    name: 'group.delete',
    method: 'POST',
    path: '/ocloud/v1/group/delete',
    body: object('GroupDeleteParam', { group: string }),
    envelope: 'B',
    handle({ state, body }) {
      const { id, parent } = group(state, body.group ?? '')
      const used =
        parent === undefined ||
        state.groups.all().some((row) => row.parent === id) ||
        state.users.all().some((row) => row.group === id)
      if (used) throw refuse('wrongState', `organisational unit "${id}" is not empty, or is the root`)
      state.groups.delete(id)
    },
  }),
  operation({
    name: 'user.closeDomains',
    method: 'POST',
    path: '/ocloud/v1/user/close-domain',
    body: object('DepartmentCloseDomainDto', { usernameList: required(array(string)) }),
    envelope: 'B',
    async handle({ state, body }) {
      const ids = new Set(body.usernameList.map((id) => state.user(id).id))
      for (const row of state.domains()) {
        if (row.userId !== undefined && ids.has(row.userId) && row.status === 1)
          await state.machines.apply('close', row)
      }
    },
  }),
]
