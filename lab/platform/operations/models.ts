import { messageOf } from '../../../framework/core/index.ts'
import { DOMAIN_VO, domainView } from '../domain-view.ts'
import { contains, operation, pageOf } from '../operation.ts'
import { refuse } from '../refusal.ts'
import { array, bool, int, object, page, PAGE, string } from '../schema.ts'
import type { PlatformState } from '../state.ts'
import { likeTemplate } from './domain-changes.ts'

const templates = (state: PlatformState, poolId: string | undefined) =>
  state.vms.all().filter((row) => row.isModel === 1 && (poolId === undefined || row.poolId === poolId))

export const MODEL_OPERATIONS = [
  operation({
    name: 'model.list',
    method: 'GET',
    path: '/ocloud/v1/model',
    query: { ...PAGE, keyword: string, poolId: string },
    envelope: 'R',
    answer: page(DOMAIN_VO),
    handle(call) {
      const { state, query } = call
      const rows = templates(state, query.poolId).filter((row) => contains(query.keyword, row.name))
      return pageOf(call, rows, (row) => domainView(state, row))
    },
  }),
  operation({
    name: 'model.all',
    method: 'GET',
    path: '/ocloud/v1/model/all',
    query: { poolId: string },
    envelope: 'R',
    answer: array(DOMAIN_VO),
    handle: ({ state, query }) => templates(state, query.poolId).map((row) => domainView(state, row)),
  }),
  operation({
    name: 'model.clone',
    method: 'POST',
    path: '/ocloud/v1/model/{id}/clone',
    body: object('ModelCloneDto', { amount: int, check: bool, name: string, storageNameList: array(string) }),
    envelope: 'R',
    answer: object('EventIdVO', { eventId: string }),
    handle({ state, path, body }) {
      const template = state.template(path['id'] as string)
      const { amount = 1, name = template.name } = body
      if (amount < 1 || amount > 1000) throw refuse('invalidValue', `amount is ${amount}`)
      const event = state.events.begin('templateClone', { ...template, eventType: 1 })
      const names = amount === 1 ? [name] : Array.from({ length: amount }, (_, index) => `${name}-${index + 1}`)
      const failure = state.faults.hit('fail', 'model.clone')
      if (failure) {
        event.fail(failure.reason)
        return { eventId: event.id }
      }
      const making = Promise.all(
        names.map((one) => state.machines.make({ ...likeTemplate(template, one), cloneType: '1' as const })),
      )
      const told = making.then(
        () => event.succeed(),
        (error: unknown) => event.fail(messageOf(error)),
      )
      void state.machines.keep(told)
      return { eventId: event.id }
    },
  }),
  operation({
    name: 'model.toDomain',
    method: 'POST',
    path: '/ocloud/v1/model/{id}/to-domain',
    envelope: 'B',
    handle({ state, path }) {
      const row = state.template(path['id'] as string)
      if (row.libvirtName === '') throw refuse('unsupported', `"${row.name}" is a template of the hosts, not a VM's`)
      if (state.vms.all().some((vm) => vm.motherId === row.id && vm.cloneType === '1')) {
        throw refuse('wrongState', `"${row.name}" has linked clones`)
      }
      state.vms.change(row.id, { isModel: 0 })
    },
  }),
]
