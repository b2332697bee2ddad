import type { Operation } from '../operation.ts'
import { consoles } from './consoles.ts'
import { deskPools } from './desk-pools.ts'
import { disks } from './disks.ts'
import { domains } from './domains.ts'
import { events } from './events.ts'
import { hosts } from './hosts.ts'
import { models } from './models.ts'
import { recycleBin } from './recycle-bin.ts'
import { serials } from './serials.ts'
import { sessionOperations } from './session.ts'
import { snapshots } from './snapshots.ts'
import { usbPools } from './usb-pools.ts'
import { users } from './users.ts'

/** Every operation that the client knows. */
export const VDI_OPERATIONS: readonly Operation[] = [
  ...sessionOperations,
  ...[
    consoles,
    deskPools,
    disks,
    domains,
    events,
    hosts,
    models,
    recycleBin,
    serials,
    snapshots,
    usbPools,
    users,
  ].flatMap((of) => Object.values<Operation>(of)),
]
