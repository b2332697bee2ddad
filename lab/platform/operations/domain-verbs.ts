import type { Verb } from '../machines.ts'
import { operation, type Call, type Operation } from '../operation.ts'
import { refuse, Refusal } from '../refusal.ts'
import { VM_STATUS, type VmRow } from '../rows.ts'
import { array, int, object, oneOf, required, string, type ValueOf } from '../schema.ts'

const BATCH_TASK = object('DomainBatchTaskDto', { hostId: string, idList: array(string), isForce: oneOf(0, 1) })

const BATCH_TASK_VO = object('DomainBatchTaskVO', {
  errorList: array(object('ErrorInfo', { domainId: string, domainName: string, errorMsg: string, status: int })),
  eventIdList: array(string),
})

type Batch = Call<unknown, ValueOf<typeof BATCH_TASK>>

/** Begins the verb for each VM; those it cannot begin for come back with the reason. */
async function batch(verb: Verb, { state, body }: Batch): Promise<ValueOf<typeof BATCH_TASK_VO>> {
  const ids = idsOf(body.idList)
  if (body.hostId !== undefined) state.host(body.hostId)
  const outcomes = await Promise.all(
    ids.map(async (domainId) => {
      try {
        const options = { force: body.isForce === 1, ...(verb === 'start' && { hostId: body.hostId }) }
        return { event: await state.machines.apply(verb, state.vm(domainId), options) }
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
        if (state.behaviour.wrongState === 'envelope') throw error
        const domainName = state.vms.get(domainId)?.name
        return { error: { domainId, domainName, errorMsg: error.message, status: error.status } }
      }
    }),
  )
  return {
    errorList: outcomes.flatMap(({ error }) => (error ? [error] : [])),
    eventIdList: outcomes.flatMap(({ event }) => (event === undefined ? [] : [event])),
  }
}

/** @throws Refusal for a list that names nobody. */
export function idsOf(list: string[] | undefined): string[] {
  const ids = [...new Set(list)]
  if (ids.length === 0) throw refuse('missingField', 'the list of VM ids is missing or empty')
  return ids
}

const verb = (name: Verb, path: string = name): Operation =>
  operation({
    name: `domain.${path}`,
    method: 'POST',
    path: `/ocloud/v1/domain/${path}`,
    body: BATCH_TASK,
    envelope: 'R',
    answer: BATCH_TASK_VO,
    handle: (call) => batch(name, call),
  })

function assertOff(row: VmRow, what: string): void {
  if (row.status !== VM_STATUS.off) throw refuse('wrongState', `"${row.name}" must be off to ${what}`)
}

export const DOMAIN_VERB_OPERATIONS = [
  verb('start'),
  // No VM of the stand-in has a GPU.
  verb('start', 'start-without-gpu'),
  verb('close'),
  verb('reboot'),
  verb('suspend'),
  verb('resume'),
  verb('sleep'),
  verb('wakeup'),
  operation({
    name: 'domain.delete',
    method: 'POST',
    path: '/ocloud/v1/domain/delete',
    body: object('BatchDelDomainReq', { domainIdList: array(string), isRecycle: required(oneOf(0, 1)) }),
    envelope: 'B',
    async handle({ state, body }) {
      const rows = idsOf(body.domainIdList).map((id) => state.vm(id))
      for (const row of rows) assertOff(row, 'delete it')
      const changes = { isRecycle: 1, desktopPoolId: undefined, userId: undefined } as const
      if (body.isRecycle === 1) for (const row of rows) state.vms.change(row.id, changes)
      else await Promise.all(rows.map((row) => state.machines.remove(row)))
    },
  }),
  operation({
    name: 'domain.freeze',
    method: 'POST',
    path: '/ocloud/v1/domain/freeze',
    body: object('DomainBatchFreezeReq', {
      freezeType: required(oneOf(1, 2, 3, 4)),
      idList: required(array(string)),
    }),
    envelope: 'R',
    answer: array(string),
    handle({ state, body }) {
      const rows = idsOf(body.idList).map((id) => state.vm(id))
      const kept = new Set(state.snapshots.all().map(({ domainId }) => domainId))
      const hasOne = (row: VmRow) => row.freezeType !== 0 || kept.has(row.id)
      const already = rows.filter(hasOne)
      for (const row of rows) {
        if (hasOne(row)) continue
        state.vms.change(row.id, { freezeType: body.freezeType, lastFreezeTime: state.clock.now() })
      }
      return already.map((row) => row.id)
    },
  }),
  operation({
    name: 'domain.restore',
    method: 'POST',
    path: '/ocloud/v1/domain/restore',
    body: BATCH_TASK,
    envelope: 'B',
    handle({ state, body }) {
      for (const row of idsOf(body.idList).map((id) => state.vm(id))) state.vms.change(row.id, { freezeType: 0 })
    },
  }),
  operation({
    name: 'domain.rebase',
    method: 'POST',
    path: '/ocloud/v1/domain/rebase',
    body: BATCH_TASK,
    envelope: 'B',
    async handle({ state, body }) {
      const rows = idsOf(body.idList).map((id) => state.vm(id))
      for (const row of rows) {
        assertOff(row, 'reset it to its template')
        if (row.cloneType !== '1') throw refuse('wrongState', `"${row.name}" is no linked clone`)
      }
      for (const row of rows) {
        await state.machines.doNow('domain.rebase', row, VM_STATUS.off, async (signal) => {
          for (const snapshot of state.snapshots.all()) {
            if (snapshot.domainId === row.id) state.snapshots.delete(snapshot.id)
          }
          await state.machines.remake(row, {}, { signal })
        })
      }
    },
  }),
  operation({
    name: 'domain.bindUser',
    method: 'POST',
    path: '/ocloud/v1/domain/bind-user',
    body: object('DomainBindUserDto', { domainIdList: array(string), userId: required(string) }),
    envelope: 'R',
    answer: object('DomainBindUserVO', { notBindDomainIdList: array(string) }),
    handle({ state, body }) {
      const { id: userId } = state.user(body.userId)
      const notBindDomainIdList = idsOf(body.domainIdList).filter((id) => {
        const row = state.vms.get(id)
        if (!row || row.isModel === 1 || row.isRecycle === 1) return true
        if (row.userId !== undefined && row.userId !== userId) return true
        state.vms.change(id, { userId })
        return false
      })
      return { notBindDomainIdList }
    },
  }),
  operation({
    name: 'domain.unbindUser',
    method: 'POST',
    path: '/ocloud/v1/domain/unbind-user',
    body: object('DomainUnbindUserParam', { domainIdList: array(string) }),
    envelope: 'B',
    handle({ state, body }) {
      for (const row of idsOf(body.domainIdList).map((id) => state.vm(id)))
        state.vms.change(row.id, { userId: undefined })
    },
  }),
]
