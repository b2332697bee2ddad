import { randomUUID } from 'node:crypto'
import { messageOf } from '../../../framework/core/index.ts'
import { DOMAIN_VO, domainView } from '../domain-view.ts'
import { assertName } from '../machines.ts'
import { contains, operation, pageOf } from '../operation.ts'
import { growPool, shrinkPool, switchTemplate, templateIds } from '../pool-work.ts'
import { refuse } from '../refusal.ts'
import { POOL_STATUS, VM_STATUS, type PoolRow } from '../rows.ts'
import { array, int, object, oneOf, page, PAGE, required, string, type ValueOf } from '../schema.ts'
import type { PlatformState } from '../state.ts'

const POOL_VO = object('DesktopPoolVO', {
  adminId: string,
  adminName: string,
  allocatedAmount: int,
  amount: int,
  classNo: string,
  curModelId: string,
  curModelName: string,
  domainPrefix: string,
  enabled: int,
  forceFreeze: int,
  groupNameList: array(string),
  id: string,
  ldapOpen: string,
  ldapType: string,
  modelId: string,
  modelList: array(object('ModelVO0', { id: string, name: string })),
  name: string,
  remark: string,
  status: int,
  tableOpen: int,
  type: int,
  usedAmount: int,
})
const EVENT_ID = object('EventIdVO', { eventId: string })
const POOL_DOMAINS = object('DeskPoolRemoveDomainDto', {
  domainIdList: required(array(string)),
  id: required(string),
})
const POOL_GROUPS = object('DeskPoolBindGroupDto', { groupNameList: required(array(string)), id: required(string) })

const MOST_DESKTOPS = 1000

function assertAmount(amount: number): void {
  if (amount < 0 || amount > MOST_DESKTOPS)
    throw refuse('invalidValue', `amount is ${amount}; it must be 0 to ${MOST_DESKTOPS}`)
}

function poolView(state: PlatformState, row: PoolRow): ValueOf<typeof POOL_VO> {
  const vms = state.poolVms(row.id)
  const models = templateIds(row.modelId).flatMap((id) => state.vms.get(id) ?? [])
  return {
    ...row,
    curModelName: row.curModelId === undefined ? undefined : state.vms.get(row.curModelId)?.name,
    modelList: models.map(({ id, name }) => ({ id, name })),
    usedAmount: vms.filter((vm) => vm.userId !== undefined).length,
    allocatedAmount: vms.length,
    tableOpen: 0,
  }
}

const poolId = { path: '/ocloud/v1/desk-pool/{id}' } as const

const setter = (name: string, change: (row: PoolRow) => Partial<PoolRow>) =>
  operation({
    name: `deskPool.${name}`,
    method: 'POST',
    path: `${poolId.path}/${name}`,
    envelope: 'B',
    handle({ state, path }) {
      const row = state.pool(path['id'] as string)
      state.pools.change(row.id, change(row))
    },
  })

export const DESK_POOL_OPERATIONS = [
  operation({
    name: 'deskPool.list',
    method: 'GET',
    path: '/ocloud/v1/desk-pool',
    query: { ...PAGE, keyword: string, type: oneOf(0, 1, 2), typeList: array(int) },
    envelope: 'R',
    answer: page(POOL_VO),
    handle(call) {
      const { state, query } = call
      const rows = state.pools
        .all()
        .filter(
          (row) =>
            contains(query.keyword, row.name) &&
            (query.type === undefined || row.type === query.type) &&
            (query.typeList === undefined || query.typeList.includes(row.type)),
        )
      return pageOf(call, rows, (row) => poolView(state, row))
    },
  }),
  operation({
    name: 'deskPool.create',
    method: 'POST',
    path: '/ocloud/v1/desk-pool',
    body: object('DeskPoolCreateDto', {
      amount: required(int),
      classNo: string,
      domainPrefix: string,
      forceFreeze: oneOf(0, 1),
      modelId: string,
      name: required(string),
      remark: string,
      type: required(oneOf(0, 1, 2)),
    }),
    envelope: 'R',
    answer: EVENT_ID,
    handle({ state, body }) {
      assertName(body.name)
      if (body.domainPrefix !== undefined) assertName(body.domainPrefix)
      assertAmount(body.amount)
      if (state.pools.all().some((pool) => pool.name === body.name)) {
        throw refuse('nameTaken', `there is a desk pool "${body.name}" already`)
      }
      const [first] = templateIds(body.modelId).map((id) => state.template(id))
      if (!first && body.amount > 0)
        throw refuse('missingField', 'modelId is missing: desktops are made from a template')
      const pool = state.pools.add({
        ...body,
        id: randomUUID(),
        enabled: state.behaviour.poolsEnabled,
        status: POOL_STATUS.idle,
        groupNameList: [],
        ...(first && { curModelId: first.id }),
      })
      const event = state.events.begin('poolCreate', { id: pool.id, name: pool.name, eventType: 1 })
      void state.machines.keep(growPool(state, pool, body.amount, 'deskPool.create', event))
      return { eventId: event.id }
    },
  }),
  operation({
    name: 'deskPool.update',
    method: 'PATCH',
    path: poolId.path,
    body: object('DeskPoolUpdateDto', {
      amount: required(int),
      modelId: string,
      name: required(string),
      remark: string,
    }),
    envelope: 'R',
    answer: EVENT_ID,
    handle({ state, path, body }) {
      const pool = state.pool(path['id'] as string)
      assertName(body.name)
      assertAmount(body.amount)
      if (state.pools.all().some((other) => other.name === body.name && other.id !== pool.id)) {
        throw refuse('nameTaken', `there is a desk pool "${body.name}" already`)
      }
      for (const id of templateIds(body.modelId)) state.template(id)
      const more = body.amount - state.poolVms(pool.id).length
      const surplus = more < 0 ? shrinkPool(state, pool, -more) : []
      state.pools.change(pool.id, body)
      const event = state.events.begin('poolChange', { id: pool.id, name: pool.name, eventType: 1 })
      const work = async () => {
        for (const row of surplus) await state.machines.remove(row)
        await growPool(state, pool, Math.max(0, more), 'deskPool.update', event)
      }
      void state.machines.keep(work().catch((error: unknown) => event.fail(messageOf(error))))
      return { eventId: event.id }
    },
  }),
  operation({
    name: 'deskPool.delete',
    method: 'DELETE',
    path: poolId.path,
    envelope: 'B',
    async handle({ state, path }) {
      const pool = state.pool(path['id'] as string)
      const vms = state.poolVms(pool.id)
      const on = vms.find((row) => row.status !== VM_STATUS.off)
      if (on) throw refuse('wrongState', `desk pool "${pool.name}" cannot be deleted: "${on.name}" is not off`)
      await Promise.all(vms.map((row) => state.machines.remove(row)))
      state.pools.delete(pool.id)
    },
  }),
  setter('enable', () => ({ enabled: 1 })),
  setter('disable', () => ({ enabled: 0 })),
  setter('active', (row) => {
    if (row.status === POOL_STATUS.switching)
      throw refuse('wrongState', `desk pool "${row.name}" switches its template`)
    return { status: POOL_STATUS.idle }
  }),
  setter('file', (row) => {
    if (row.status === POOL_STATUS.switching)
      throw refuse('wrongState', `desk pool "${row.name}" switches its template`)
    return { status: POOL_STATUS.archived }
  }),
  operation({
    name: 'deskPool.domains',
    method: 'GET',
    path: `${poolId.path}/domain/list`,
    envelope: 'R',
    answer: array(DOMAIN_VO),
    handle: ({ state, path }) =>
      state.poolVms(state.pool(path['id'] as string).id).map((row) => domainView(state, row)),
  }),
  operation({
    name: 'deskPool.addDomains',
    method: 'POST',
    path: '/ocloud/v1/desk-pool/domain',
    body: POOL_DOMAINS,
    envelope: 'R',
    answer: array(string),
    handle({ state, body }) {
      const pool = state.pool(body.id)
      const ids = new Set(state.domains().map((row) => row.id))
      const refused = body.domainIdList.filter((id) => {
        const row = ids.has(id) ? state.vms.get(id) : undefined
        if (!row || row.desktopPoolId !== undefined) return true
        state.vms.change(id, { desktopPoolId: pool.id })
        return false
      })
      state.pools.change(pool.id, { amount: state.poolVms(pool.id).length })
      return refused
    },
  }),
  operation({
    name: 'deskPool.removeDomains',
    method: 'DELETE',
    path: '/ocloud/v1/desk-pool/domain',
    body: POOL_DOMAINS,
    envelope: 'B',
    handle({ state, body }) {
      const pool = state.pool(body.id)
      const rows = body.domainIdList.map((id) => state.vm(id))
      for (const row of rows) {
        if (row.desktopPoolId !== pool.id)
          throw refuse('wrongState', `"${row.name}" is not in desk pool "${pool.name}"`)
      }
      for (const row of rows) state.vms.change(row.id, { desktopPoolId: undefined })
      state.pools.change(pool.id, { amount: state.poolVms(pool.id).length })
    },
  }),
  operation({
    name: 'deskPool.addGroups',
    method: 'POST',
    path: '/ocloud/v1/desk-pool/group',
    body: POOL_GROUPS,
    envelope: 'R',
    answer: array(string),
    handle({ state, body }) {
      const pool = state.pool(body.id)
      const known = body.groupNameList.filter((name) => state.groups.get(name) !== undefined)
      state.pools.change(pool.id, { groupNameList: [...new Set([...pool.groupNameList, ...known])] })
      return body.groupNameList.filter((name) => !known.includes(name))
    },
  }),
  operation({
    name: 'deskPool.removeGroups',
    method: 'DELETE',
    path: '/ocloud/v1/desk-pool/group',
    body: POOL_GROUPS,
    envelope: 'B',
    handle({ state, body }) {
      const pool = state.pool(body.id)
      const groupNameList = pool.groupNameList.filter((name) => !body.groupNameList.includes(name))
      state.pools.change(pool.id, { groupNameList })
    },
  }),
  operation({
    name: 'deskPool.switchModel',
    method: 'POST',
    path: '/ocloud/v1/desk-pool/switch-model',
    body: object('ModeSwitchReq', {
      classNo: string,
      deskPoolId: required(string),
      modelId: required(string),
      task: int,
    }),
    envelope: 'R',
    answer: EVENT_ID,
    handle({ state, body }) {
      const pool = state.pool(body.deskPoolId)
      const template = state.template(body.modelId)
      if (pool.status !== POOL_STATUS.idle) throw refuse('wrongState', `desk pool "${pool.name}" is not idle`)
      const on = state.poolVms(pool.id).find((row) => row.status !== VM_STATUS.off)
      if (on) throw refuse('wrongState', `"${on.name}" is not off, so the template cannot be switched`)
      const event = state.events.begin('poolSwitch', { id: pool.id, name: pool.name, eventType: 1 })
      void state.machines.keep(switchTemplate(state, pool, template, event))
      return { eventId: event.id }
    },
  }),
]
