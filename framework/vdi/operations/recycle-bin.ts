import { operation } from '../operation.ts'
import { body, each, type Infer, int, long, pageOf, record, someOf, text } from '../schema.ts'
import { domainFields, shownFields } from './domains.ts'

const RecycleDomainVO = record(domainFields, { ...shownFields, ...each(long, 'cleanTime', 'countDown', 'duringTime') })
/** A VM in the recycle bin. The units of the times until it is deleted for good are not documented. */
export type RecycleDomainVO = Infer<typeof RecycleDomainVO>

const BatchIdListDto = body({ idList: someOf(text) })

/** Operations of the recycle bin. */
export const recycleBin = {
  list: operation({
    name: 'recycleBin.list',
    method: 'GET',
    path: '/ocloud/v1/recycle',
    query: body({}, each(int, 'pageNum', 'pageSize')),
    answer: pageOf(RecycleDomainVO),
  }),
  restore: operation({
    name: 'recycleBin.restore',
    method: 'POST',
    path: '/ocloud/v1/recycle/restore',
    body: BatchIdListDto,
  }),
  delete: operation({
    name: 'recycleBin.delete',
    method: 'POST',
    path: '/ocloud/v1/recycle/delete',
    body: BatchIdListDto,
  }),
}
