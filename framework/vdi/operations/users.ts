import { operation } from '../operation.ts'
import {
  anything,
  body,
  bool,
  each,
  type Infer,
  int,
  listOf,
  long,
  oneOf,
  pageOf,
  record,
  someOf,
  text,
  wireTime,
} from '../schema.ts'
import { DomainVO, vmFields } from './domains.ts'

const UserListVo = record(
  { sAMAccountName: text },
  {
    ...each(text, 'admins', 'cn', 'displayName', 'distinguishedName', 'domainName', 'givenName', 'id', 'idNumber'),
    ...each(text, 'lastLoginTime', 'mail', 'mobile', 'sn'),
  },
)
/** An end user in a list. */
export type UserListVo = Infer<typeof UserListVo>
const UserDetailVo = record({ sAMAccountName: text }, each(text, 'displayName', 'mail', 'mobile'))
/** An end user. */
export type UserDetailVo = Infer<typeof UserDetailVo>

const userFields = each(text, 'givenName', 'group', 'idNumber', 'mail', 'mobile', 'sn')
const UserCreateParam = body({ sAMAccountName: text }, { ...userFields, password: text })
/** An end user to make; `group` is the organisational unit as `ou=x,ou=y`. */
export type UserCreateParam = Infer<typeof UserCreateParam>
const UserUpdateParam = body({ sAMAccountName: text }, { ...userFields, cn: text })
/** Changes of an end user. */
export type UserUpdateParam = Infer<typeof UserUpdateParam>

/** `username` is in no document, but in the platform's own guide. */
const LoginReq = body(
  { password: text },
  {
    action: oneOf('pwd', 'fp', 'sms', 'pwd-sms', 'qrcode'),
    ...each(text, 'idNumber', 'ipAddr', 'macAddr', 'phone', 'sAMAccountName', 'smsCode', 'smsKey', 'software'),
    ...each(text, 'systemVersion', 'terminalType', 'username'),
  },
)
const StorageVolumeEntity = record(
  {},
  {
    ...each(text, 'busType', 'domainId', 'domains', 'filename', 'id', 'name', 'readBytesSec', 'readIopsSec'),
    ...each(text, 'storagePoolId', 'writeBytesSec', 'writeIopsSec'),
    ...each(int, 'isRecycle', 'isStartDisk', 'size'),
    ...each(wireTime, 'createTime', 'updateTime'),
  },
)
const DomainEntity = record(
  { id: text },
  {
    ...vmFields,
    ...each(text, 'domainXml', 'hostIp', 'name'),
    ...each(int, 'mouseMode', 'status'),
    volumes: listOf(StorageVolumeEntity),
  },
)
/** A VM as its user sees it. */
export type DomainEntity = Infer<typeof DomainEntity>
const LinkingHost = record(
  {},
  {
    ...each(text, 'code', 'controlEndTime', 'controlTime', 'cpu', 'hostKey', 'hostname', 'keyType', 'macAddress'),
    ...each(text, 'openTime', 'originalIp', 'originalMac', 'os', 'platform', 'privateIp', 'publicIp', 'remark'),
    ...each(text, 'status', 'userId', 'uuid', 'version', 'vmUuid'),
    ...each(int, 'memory', 'privatePort', 'publicPort'),
    ...each(long, 'desktopPoolId', 'id'),
    supportedActions: listOf(text),
    ...each(wireTime, 'createTime', 'updateTime'),
  },
)
/** A physical PC that a user may reach. */
export type LinkingHost = Infer<typeof LinkingHost>
const LoginData = record(
  { token: text },
  {
    ...each(text, 'phone', 'strongPwd', 'userName'),
    isFirstLogin: int,
    licenseExpireDays: long,
    needSmsVerify: bool,
    domains: listOf(DomainEntity),
    linkingHosts: listOf(LinkingHost),
  },
)
const ResultClient = record(
  { token: text },
  {
    ...each(text, 'msg', 'phone', 'strongPwd', 'token_login', 'userName'),
    ...each(int, 'isFirstLogin', 'machinenums', 'returnCode', 'status'),
    licenseExpireDays: long,
    needSmsVerify: bool,
    ...each(anything, 'machines', 'zzdUser'),
  },
)

/** Operations of end users. */
export const users = {
  list: operation({
    name: 'users.list',
    method: 'GET',
    path: '/ocloud/v1/user',
    query: body({ group: text }, { ...each(text, 'keyword', 'sortOrder'), ...each(int, 'pageNum', 'pageSize') }),
    answer: pageOf(UserListVo),
  }),
  get: operation({
    name: 'users.get',
    method: 'GET',
    path: '/ocloud/v1/user/detail',
    query: body({ sAMAccountName: text }),
    answer: UserDetailVo,
  }),
  create: operation({ name: 'users.create', method: 'POST', path: '/ocloud/v1/user', body: UserCreateParam }),
  update: operation({
    name: 'users.update',
    method: 'PUT',
    path: '/ocloud/v1/user',
    body: UserUpdateParam,
    idempotent: true,
  }),
  delete: operation({
    name: 'users.delete',
    method: 'POST',
    path: '/ocloud/v1/user/delete',
    body: body({ userId: text }, { group: text }),
  }),
  resetPassword: operation({
    name: 'users.resetPassword',
    method: 'PATCH',
    path: '/ocloud/v1/user/password',
    body: body({ sAMAccountName: text, password: text }, { group: text }),
    idempotent: true,
  }),
  closeDomains: operation({
    name: 'users.closeDomains',
    method: 'POST',
    path: '/ocloud/v1/user/close-domain',
    body: body({ usernameList: someOf(text) }),
  }),
  createGroup: operation({
    name: 'users.createGroup',
    method: 'POST',
    path: '/ocloud/v1/group',
    body: body({ group: text }, { base: text }),
  }),
  deleteGroup: operation({
    name: 'users.deleteGroup',
    method: 'POST',
    path: '/ocloud/v1/group/delete',
    body: body({ group: text }),
  }),
  domains: operation({
    name: 'users.domains',
    method: 'GET',
    path: '/ocloud/v1/user/domain',
    query: body(
      { userId: text },
      { ...each(text, 'freeze', 'keyword', 'status'), ...each(int, 'pageNum', 'pageSize') },
    ),
    answer: pageOf(DomainVO),
  }),
  login: operation({
    name: 'users.login',
    method: 'POST',
    path: '/ocloud/usermodule/login',
    body: LoginReq,
    answer: LoginData,
    envelope: 'U',
    session: false,
  }),
  login2: operation({
    name: 'users.login2',
    method: 'POST',
    path: '/ocloud/usermodule/userlogin2',
    body: LoginReq,
    answer: ResultClient,
    envelope: 'C',
    session: false,
  }),
}
