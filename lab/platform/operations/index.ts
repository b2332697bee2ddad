import type { Operation } from '../operation.ts'
import { DESK_POOL_OPERATIONS } from './desk-pools.ts'
import { SERIAL_OPERATIONS, USB_OPERATIONS } from './devices.ts'
import { DISK_OPERATIONS, RECYCLE_OPERATIONS } from './disks.ts'
import { DOMAIN_CHANGE_OPERATIONS } from './domain-changes.ts'
import { DOMAIN_QUERY_OPERATIONS } from './domain-queries.ts'
import { DOMAIN_VERB_OPERATIONS } from './domain-verbs.ts'
import { EVENT_OPERATIONS } from './events.ts'
import { HOST_OPERATIONS } from './hosts.ts'
import { LOGIN_OPERATIONS } from './login.ts'
import { MODEL_OPERATIONS } from './models.ts'
import { SNAPSHOT_OPERATIONS } from './snapshots.ts'
import { USER_OPERATIONS } from './users.ts'

/** Every operation the stand-in answers. */
export const PLATFORM_OPERATIONS: readonly Operation[] = [
  ...LOGIN_OPERATIONS,
  ...DOMAIN_VERB_OPERATIONS,
  ...DOMAIN_CHANGE_OPERATIONS,
  ...DOMAIN_QUERY_OPERATIONS,
  ...DISK_OPERATIONS,
  ...RECYCLE_OPERATIONS,
  ...SNAPSHOT_OPERATIONS,
  ...DESK_POOL_OPERATIONS,
  ...HOST_OPERATIONS,
  ...MODEL_OPERATIONS,
  ...USER_OPERATIONS,
  ...EVENT_OPERATIONS,
  ...USB_OPERATIONS,
  ...SERIAL_OPERATIONS,
]
