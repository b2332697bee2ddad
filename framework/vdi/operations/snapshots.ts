import { operation } from '../operation.ts'
import { body, each, type Infer, int, pageOf, record, text, wireTime } from '../schema.ts'

const DomainSnapshotVO = record(
  { id: text, name: text },
  {
    ...each(text, 'domainId', 'domainXml', 'path', 'snapXml'),
    ...each(int, 'domainStatus', 'isFreeze', 'isTerminal'),
    createTime: wireTime,
  },
)
/** A snapshot. `domainStatus` is the VM's status when it was taken. */
export type DomainSnapshotVO = Infer<typeof DomainSnapshotVO>

/** Operations of snapshots. */
export const snapshots = {
  list: operation({
    name: 'snapshots.list',
    method: 'GET',
    path: '/ocloud/v1/domain/{id}/snapshot',
    query: body({}, { keyword: text, ...each(int, 'pageNum', 'pageSize') }),
    answer: pageOf(DomainSnapshotVO),
  }),
  get: operation({ name: 'snapshots.get', method: 'GET', path: '/ocloud/v1/snapshot/{id}', answer: DomainSnapshotVO }),
  create: operation({
    name: 'snapshots.create',
    method: 'POST',
    path: '/ocloud/v1/domain/{id}/snapshot',
    body: body({ name: text }),
    answer: record({ eventId: text }),
  }),
  restore: operation({ name: 'snapshots.restore', method: 'POST', path: '/ocloud/v1/snapshot/{id}/restore' }),
  delete: operation({ name: 'snapshots.delete', method: 'DELETE', path: '/ocloud/v1/snapshot/{id}' }),
}
