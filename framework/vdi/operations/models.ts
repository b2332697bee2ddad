import { operation } from '../operation.ts'
import { body, bool, each, type Infer, int, listOf, pageOf, record, text } from '../schema.ts'
import { DomainVO } from './domains.ts'

const ModelCloneDto = body({ amount: int, name: text }, { check: bool, storageNameList: listOf(text) })
/** Linked clones to make: how many, and the prefix of their names. */
export type ModelCloneDto = Infer<typeof ModelCloneDto>

/** Operations of templates, which look like VMs. */
export const models = {
  list: operation({
    name: 'models.list',
    method: 'GET',
    path: '/ocloud/v1/model',
    query: body({}, { ...each(text, 'keyword', 'poolId'), ...each(int, 'pageNum', 'pageSize') }),
    answer: pageOf(DomainVO),
  }),
  all: operation({
    name: 'models.all',
    method: 'GET',
    path: '/ocloud/v1/model/all',
    query: body({}, { poolId: text }),
    answer: listOf(DomainVO),
  }),
  clone: operation({
    name: 'models.clone',
    method: 'POST',
    path: '/ocloud/v1/model/{id}/clone',
    body: ModelCloneDto,
    answer: record({ eventId: text }),
  }),
  toDomain: operation({ name: 'models.toDomain', method: 'POST', path: '/ocloud/v1/model/{id}/to-domain' }),
}
