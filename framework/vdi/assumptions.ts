/**
 * What the platform's documents leave open or contradict, and this client relies on. Each is an option, so that an
 * installation that behaves differently needs no other client.
 */
export interface VdiAssumptions {
  /** Codes of an answer that mean "log in again". Default `[1006]`. */
  expiredTokenCodes: readonly number[]
  /** HTTP status codes that mean "log in again". Default `[401]`. */
  expiredTokenHttpStatuses: readonly number[]
  /** The login's `client` field; undefined leaves it out. Default `''`, which real platforms take. */
  loginClient: string | undefined
  /** `status` values of `/ocloud/usermodule` answers that mean success. Default `[0, 200]`. */
  endUserSuccessStatuses: readonly number[]
  /** Which operation logs end users in: the newer `login`, or `userlogin2`. Default `'login'`. */
  endUserLogin: 'login' | 'userlogin2'
  /** The field with the end user's account name at login. Default `'both'`. */
  endUserField: 'both' | 'username' | 'sAMAccountName'
  /**
   * How sessions of end users end: by the administrators' logout with the user's token, or by expiry only. Default
   * `'logout'`.
   */
  endUserLogout: 'logout' | 'expiry'
  /** How users' passwords are sent when users are made or changed. Default `'md5'`, as at login. */
  userPasswordForm: 'md5' | 'clear'
  /** How several values of one query parameter are written. Default `'repeat'`. */
  arrayQuery: 'repeat' | 'comma' | 'pipe'
  /** Rows asked for per page; the largest allowed is not documented. Default 100. */
  pageRows: number
  /** A list that is missing or null in a successful answer is an empty one. Default true. */
  absentListIsEmpty: boolean
  /** UTC offset of times that carry none: `+08:00`, `Z`. Default `'+08:00'`. */
  timestampZone: string
  /** How times are written in range queries: `2026-01-31 08:00:00`, or ISO 8601 in UTC. Default `'blank'`. */
  rangeTimeForm: 'blank' | 'iso'
  /** VM status that means hibernated. Default 3. */
  hibernatedStatus: number
  /** VM statuses that mean that an operation is under way. Default `[5, 6]`: busy, upgrading. */
  busyStatuses: readonly number[]
  /** `isSuccess` of an event that went well; the documents say both 0 and 1. Default 0. */
  eventSuccessValue: 0 | 1
  /** An event that the platform does not know (yet) belongs to an unfinished operation. Default true. */
  missingEventIsUnfinished: boolean
  /** A batch verb answers one event per VM that it accepted; fewer mean that a VM was passed over. Default true. */
  oneEventPerVm: boolean
  /** `isRecycle` of a deletion that moves VMs to the recycle bin; the other one deletes for good. Default 1. */
  recycleValue: 0 | 1
  /** Form of the SPICE key: the ticket itself, or its Base64. Default `'plain'`. */
  spiceKeyForm: 'plain' | 'base64'
}

/** What the client assumes unless told otherwise. */
export const DEFAULT_ASSUMPTIONS: Readonly<VdiAssumptions> = {
  expiredTokenCodes: [1006],
  expiredTokenHttpStatuses: [401],
  loginClient: '',
  endUserSuccessStatuses: [0, 200],
  endUserLogin: 'login',
  endUserField: 'both',
  endUserLogout: 'logout',
  userPasswordForm: 'md5',
  arrayQuery: 'repeat',
  pageRows: 100,
  absentListIsEmpty: true,
  timestampZone: '+08:00',
  rangeTimeForm: 'blank',
  hibernatedStatus: 3,
  busyStatuses: [5, 6],
  eventSuccessValue: 0,
  missingEventIsUnfinished: true,
  oneEventPerVm: true,
  recycleValue: 1,
  spiceKeyForm: 'plain',
}
