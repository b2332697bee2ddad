import { operation } from '../operation.ts'
import { body, each, type Infer, int, listOf, oneOf, pageOf, record, someOf, text } from '../schema.ts'
import { DomainVO } from './domains.ts'

const ModelVO0 = record({}, each(text, 'id', 'name'))
/** A desk pool. `status`: 0 idle, 1 switching its template, 2 archived; `type`: 0 not shared, 1 shared, 2 teaching. */
export const DesktopPoolVO = record(
  { id: text, name: text },
  {
    ...each(text, 'adminId', 'adminName', 'classNo', 'curModelId', 'curModelName', 'domainPrefix', 'ldapOpen'),
    ...each(text, 'ldapType', 'modelId', 'remark'),
    ...each(int, 'allocatedAmount', 'amount', 'enabled', 'forceFreeze', 'status', 'tableOpen', 'type', 'usedAmount'),
    groupNameList: listOf(text),
    modelList: listOf(ModelVO0),
  },
)
/** A desk pool. */
export type DesktopPoolVO = Infer<typeof DesktopPoolVO>

const DeskPoolCreateDto = body(
  { amount: int, name: text, type: oneOf(0, 1, 2) },
  { ...each(text, 'classNo', 'domainPrefix', 'modelId', 'remark'), forceFreeze: oneOf(0, 1) },
)
/** A desk pool to make: `amount` desktops named after `domainPrefix`, from the templates in `modelId` (commas). */
export type DeskPoolCreateDto = Infer<typeof DeskPoolCreateDto>

const DeskPoolUpdateDto = body({ amount: int, name: text }, each(text, 'modelId', 'remark'))
/** Changes of a desk pool. Its name and amount have to be given. */
export type DeskPoolUpdateDto = Infer<typeof DeskPoolUpdateDto>

const EventIdVO = record({ eventId: text })
const DeskPoolRemoveDomainDto = body({ id: text, domainIdList: someOf(text) })

const DeskPoolBindGroupDto = body({ id: text, groupNameList: someOf(text) })

/** Operations of desk pools. */
export const deskPools = {
  list: operation({
    name: 'deskPools.list',
    method: 'GET',
    path: '/ocloud/v1/desk-pool',
    query: body(
      {},
      { keyword: text, type: oneOf(0, 1, 2), typeList: listOf(int), ...each(int, 'pageNum', 'pageSize') },
    ),
    answer: pageOf(DesktopPoolVO),
  }),
  create: operation({
    name: 'deskPools.create',
    method: 'POST',
    path: '/ocloud/v1/desk-pool',
    body: DeskPoolCreateDto,
    answer: EventIdVO,
  }),
  update: operation({
    name: 'deskPools.update',
    method: 'PATCH',
    path: '/ocloud/v1/desk-pool/{id}',
    body: DeskPoolUpdateDto,
    answer: EventIdVO,
  }),
  delete: operation({ name: 'deskPools.delete', method: 'DELETE', path: '/ocloud/v1/desk-pool/{id}' }),
  enable: operation({
    name: 'deskPools.enable',
    method: 'POST',
    path: '/ocloud/v1/desk-pool/{id}/enable',
    idempotent: true,
  }),
  disable: operation({
    name: 'deskPools.disable',
    method: 'POST',
    path: '/ocloud/v1/desk-pool/{id}/disable',
    idempotent: true,
  }),
  activate: operation({ name: 'deskPools.activate', method: 'POST', path: '/ocloud/v1/desk-pool/{id}/active' }),
  archive: operation({ name: 'deskPools.archive', method: 'POST', path: '/ocloud/v1/desk-pool/{id}/file' }),
  switchModel: operation({
    name: 'deskPools.switchModel',
    method: 'POST',
    path: '/ocloud/v1/desk-pool/switch-model',
    body: body({ deskPoolId: text, modelId: text }, { classNo: text, task: int }),
    answer: EventIdVO,
  }),
  domains: operation({
    name: 'deskPools.domains',
    method: 'GET',
    path: '/ocloud/v1/desk-pool/{id}/domain/list',
    answer: listOf(DomainVO),
  }),
  addDomains: operation({
    name: 'deskPools.addDomains',
    method: 'POST',
    path: '/ocloud/v1/desk-pool/domain',
    body: DeskPoolRemoveDomainDto,
    answer: listOf(text),
  }),
  addGroups: operation({
    name: 'deskPools.addGroups',
    method: 'POST',
    path: '/ocloud/v1/desk-pool/group',
    body: DeskPoolBindGroupDto,
    answer: listOf(text),
  }),
  removeGroups: operation({
    name: 'deskPools.removeGroups',
    method: 'DELETE',
    path: '/ocloud/v1/desk-pool/group',
    body: DeskPoolBindGroupDto,
  }),
  removeDomains: operation({
    name: 'deskPools.removeDomains',
    method: 'DELETE',
    path: '/ocloud/v1/desk-pool/domain',
    body: DeskPoolRemoveDomainDto,
  }),
}
